INSERT INTO tiles (level, number, hashes)
SELECT * FROM unnest(%(levels)s::smallint[], %(numbers)s::bigint[], %(hashes)b::bytea[])
ON CONFLICT (level, number) DO NOTHING
