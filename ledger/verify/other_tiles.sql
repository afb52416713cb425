-- Select the first full tile that differs from the stored one, or is missing although a checkpoint covers it.
SELECT made.level, made.number, made.hashes, t.hashes
FROM unnest(%(levels)s::smallint[], %(numbers)s::bigint[], %(hashes)b::bytea[]) AS made (level, number, hashes)
LEFT JOIN tiles t ON t.level = made.level AND t.number = made.number
WHERE t.hashes IS DISTINCT FROM made.hashes
  AND (t.hashes IS NOT NULL OR (made.number + 1) << (8 * (made.level + 1)) <= %(signed)s)
ORDER BY made.level, made.number
LIMIT 1
