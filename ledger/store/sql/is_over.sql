-- True once no event can be recorded before a moment any more: a later one is recorded, or the database's clock has
-- passed and no append is under way. An append reads the clock while it has a lock on head, and keeps that until it has
-- committed; so the clock is asked first, and the locks after it. A standby does not see the locks of its primary.
SELECT coalesce((SELECT recorded_at FROM head) >= %(moment)s, false)
    OR CASE
        WHEN pg_is_in_recovery() OR clock_timestamp() < %(moment)s THEN false
        ELSE NOT EXISTS (
            SELECT FROM pg_locks
            WHERE relation = 'head'::regclass AND mode <> 'AccessShareLock'
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        )
    END
