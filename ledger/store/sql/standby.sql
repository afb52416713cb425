-- Select on a standby whether it receives from its primary, and the numbers of bytes that it received and replayed. No
-- row on a primary. Every login may run this: of the receiver, it reads only the process.
SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE pid IS NOT NULL),
       coalesce(pg_last_wal_receive_lsn() - '0/0', 0)::bigint, coalesce(pg_last_wal_replay_lsn() - '0/0', 0)::bigint
WHERE pg_is_in_recovery()
