-- Select a checkpoint with its cosignatures, in the order in which they arrived; the hash of the event at a position;
-- and the full tile of a number at level 0. The parameters are neither arrays nor NULL: for those, PostgreSQL would
-- plan the query anew each time, which takes longer than the rest.
SELECT c.size,
       c.note || coalesce((SELECT string_agg(s.line, '' ORDER BY s.created_at, s.witness)
                           FROM cosignatures s WHERE s.size = c.size), ''),
       (SELECT e.hash FROM events e WHERE e.position = %s),
       (SELECT t.hashes FROM tiles t WHERE t.level = 0 AND t.number = %s)
FROM checkpoints c {which}
