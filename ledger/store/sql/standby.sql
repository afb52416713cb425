-- On a standby: whether it receives from its primary, and how many bytes it received and has replayed. No row on a
-- primary. Every login may ask: of the receiver only its process is looked at.
SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE pid IS NOT NULL),
       coalesce(pg_last_wal_receive_lsn() - '0/0', 0)::bigint, coalesce(pg_last_wal_replay_lsn() - '0/0', 0)::bigint
WHERE pg_is_in_recovery()
