-- The sessions that hold the lock of migrations and may migrate: only those may make in this database. Any login can take
-- an advisory lock. Parameter: the lock's number.
SELECT a.pid
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid = 0 AND l.objid = %s::bigint::oid
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND has_database_privilege(a.usesysid, current_database(), 'CREATE')
