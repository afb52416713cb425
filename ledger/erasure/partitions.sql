-- Select the names of the partitions of the sealed values.
SELECT c.relname
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'sealed_fields'::regclass
