-- The sessions that hold the row of head, or a lock on a table that keeps append() out: who, and since when the transaction
-- runs that took it. A session that itself waits for the row of head blocks nobody. Who the owner is no member of hides state
-- and time: these are null. `standby`: its commit waits for a synchronous standby, so only the standby can end it.
--
-- Nothing tells who holds a lock on a row, but who took one has the table's lock of mode RowShare until its transaction ends,
-- and only functions that lock the row of head get that lock here.
CREATE OR REPLACE FUNCTION append_blockers()
RETURNS TABLE (pid integer, login text, application text, state text, for_s double precision, held text, standby boolean)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    SELECT a.pid, a.usename::text, a.application_name, a.state,
           extract(epoch FROM clock_timestamp() - a.xact_start)::float8,
           'the table ' || string_agg(DISTINCT regexp_replace(c.relname, '^sealed_fields_[0-9]+$', 'sealed_fields'), ', '), coalesce(a.wait_event = 'SyncRep', false)
    FROM pg_locks l
    JOIN pg_class c ON c.oid = l.relation AND c.relnamespace = current_schema()::regnamespace
    JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
      -- A partition of the sealed values counts as the table.
      AND CASE regexp_replace(c.relname, '^sealed_fields_[0-9]+$', 'sealed_fields')
          WHEN 'head' THEN l.mode <> 'AccessShareLock'
          WHEN 'event_types' THEN l.mode = 'AccessExclusiveLock'
          WHEN 'events' THEN l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock')
          WHEN 'sealed_fields' THEN l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock')
          WHEN 'stream_clients' THEN l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock')
          WHEN 'stream_numbers' THEN l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock')
          ELSE false END
      AND NOT EXISTS (
          SELECT FROM pg_locks t
          WHERE t.pid = l.pid AND t.locktype = 'tuple' AND t.database = l.database AND t.relation = 'head'::regclass
      )
    GROUP BY a.pid, a.usename, a.application_name, a.state, a.xact_start, a.wait_event
    ORDER BY a.xact_start, a.pid
$$;
