-- Select the first partial tile of the newest checkpoint that is wrong. Readers get a prefix of the stored tile, which
-- may already hold more events (ledger/tlog/serve/contents.sql).
SELECT made.level, made.number
FROM unnest(%(levels)s::smallint[], %(numbers)s::bigint[], %(hashes)b::bytea[]) AS made (level, number, hashes)
WHERE made.hashes IS DISTINCT FROM substring(coalesce(
    (SELECT t.hashes FROM tiles t WHERE t.level = made.level AND t.number = made.number),
    (SELECT p.hashes FROM partial_tiles p WHERE p.level = made.level AND p.number = made.number)
) FROM 1 FOR octet_length(made.hashes))
ORDER BY made.level
LIMIT 1
