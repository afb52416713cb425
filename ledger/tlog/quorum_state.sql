-- Select the size of the newest checkpoint, and the size and age in seconds of the newest with a quorum of these
-- witnesses.
SELECT n.size, q.size, extract(epoch FROM clock_timestamp() - q.created_at)::float8
FROM (SELECT size FROM checkpoints ORDER BY size DESC LIMIT 1) n
LEFT JOIN LATERAL (
    SELECT c.size, c.created_at FROM checkpoints c
    WHERE c.size = CASE WHEN %(quorum)s = 0 THEN n.size ELSE (
        SELECT s.size
        FROM (SELECT size, witness FROM cosignatures ORDER BY size DESC LIMIT %(most)s) s
        WHERE s.witness = ANY (%(witnesses)s)
        GROUP BY s.size HAVING count(*) >= %(quorum)s ORDER BY s.size DESC LIMIT 1
    ) END
) q ON true
