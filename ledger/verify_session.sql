-- Merge joins and nested loops by index stream in order and hold nothing; a sort or a hash table of the whole chain
-- would go to the server's disk.
SELECT set_config('enable_hashjoin', 'off', true),
       set_config('enable_sort', 'off', true),
       set_config('enable_seqscan', 'off', true),
       set_config('jit', 'off', true),
       set_config('max_parallel_workers_per_gather', '0', true),
       set_config('statement_timeout', '0', true)
