-- Select the sessions that block a session. Parameter: the waiting session's pid.
SELECT a.pid, a.usename::text, a.application_name, a.state,
       extract(epoch FROM clock_timestamp() - a.state_change)::float8,
       CASE WHEN w.locktype = 'advisory' THEN 'the lock of migrations'
            WHEN w.relation IS NOT NULL THEN 'the table ' || w.relation::regclass || ' (' || w.mode || ')'
            ELSE 'a lock on ' || w.locktype || ' (' || w.mode || ')' END
FROM unnest(pg_blocking_pids(%(pid)s)) b (pid)
JOIN pg_stat_activity a ON a.pid = b.pid
LEFT JOIN LATERAL (SELECT * FROM pg_locks l WHERE l.pid = %(pid)s AND NOT l.granted LIMIT 1) w ON true
ORDER BY a.pid
