-- Select the tables that a scrub left in the staging schema, which is the parameter.
SELECT c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind = 'r' AND (c.relname ~ '^sealed_fields_[0-9]+$' OR c.relname = 'stream_clients')
