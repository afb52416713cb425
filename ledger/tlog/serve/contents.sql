-- Select the hashes of tiles. In one snapshot a tile is full, or it is the partial tile of its level, or it is made
-- from events at level 0. A prefix of the present tile is the tile at any smaller size of the tree.
SELECT coalesce(
    (SELECT substring(t.hashes FROM 1 FOR 32 * w.width) FROM tiles t
     WHERE t.level = w.level AND t.number = w.number),
    (SELECT substring(p.hashes FROM 1 FOR 32 * w.width) FROM partial_tiles p
     WHERE p.level = w.level AND p.number = w.number),
    (SELECT string_agg(sha256(decode('00', 'hex') || e.hash), ''::bytea ORDER BY e.position) FROM events e
     WHERE w.level = 0 AND e.position > 256 * w.number AND e.position <= 256 * w.number + w.width),
    ''::bytea)
FROM unnest(%s::smallint[], %s::bigint[], %s::integer[]) WITH ORDINALITY AS w (level, number, width, nth)
ORDER BY w.nth
