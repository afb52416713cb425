-- Set how this transaction reads. By index: merge joins and nested loops hold no rows, while a sort or a hash table of
-- the whole chain would spill to the server's disk. By table: for a damaged index.
SELECT set_config('enable_indexscan', %(by_index)s, true),
       set_config('enable_indexonlyscan', %(by_index)s, true),
       set_config('enable_bitmapscan', 'off', true),
       set_config('enable_seqscan', %(by_table)s, true),
       set_config('enable_sort', %(by_table)s, true),
       set_config('enable_hashjoin', 'off', true),
       set_config('enable_hashagg', 'off', true),
       set_config('max_parallel_workers_per_gather', '0', true),
       set_config('statement_timeout', '0', true)
