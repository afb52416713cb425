-- Select this session's settings that decide what an acknowledged commit survives.
SELECT current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
       current_setting('fsync')::boolean, current_setting('full_page_writes')::boolean
WHERE NOT pg_is_in_recovery()
