-- Select the age in seconds of the oldest checkpoint that is larger than a size.
SELECT extract(epoch FROM clock_timestamp() - created_at)::float8
FROM checkpoints WHERE size > %s ORDER BY size LIMIT 1
