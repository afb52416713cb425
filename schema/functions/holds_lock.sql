-- Returns true if this session of this login lives and holds this advisory lock.
CREATE OR REPLACE FUNCTION holds_lock(pid integer, login name, lock bigint)
RETURNS boolean
LANGUAGE sql VOLATILE
AS $$
    SELECT EXISTS (
        SELECT FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (l.classid::bigint << 32) | l.objid::bigint = holds_lock.lock
          AND l.pid = holds_lock.pid AND a.usename = holds_lock.login
    )
$$;
