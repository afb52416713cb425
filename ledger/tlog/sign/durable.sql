-- Wait for the disk at each commit, also where the server's default is less strict.
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
