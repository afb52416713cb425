SELECT t.level, t.number
FROM unnest(%(levels)s::smallint[], %(numbers)s::bigint[], %(hashes)b::bytea[]) AS made (level, number, hashes)
JOIN tiles t ON t.level = made.level AND t.number = made.number
WHERE t.hashes IS DISTINCT FROM made.hashes
LIMIT 1
