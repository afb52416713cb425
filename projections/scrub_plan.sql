-- What a scrub has to do. Parameters: first positions of the partitions of the sealed values, and of the next ones (null for
-- the last). The position up to which erasures are scrubbed, that of the newest erasure, how many clients were erased between
-- them, and the partitions that had values of these.
WITH scrubbed AS (
    SELECT coalesce(max((s.body::jsonb->'data'->>'upto')::bigint), 0) AS position
    FROM events s WHERE s.stream = 'scrubs' AND s.type = 'erasures.scrubbed'
), erased AS (
    SELECT x.stream, x.position FROM erased_streams x, scrubbed WHERE x.position > scrubbed.position
)
SELECT scrubbed.position,
       (SELECT max(x.position) FROM erased x),
       (SELECT count(*) FROM events e JOIN erased x USING (stream, position) WHERE e.type = 'client.erased'),
       ARRAY (
           SELECT p.start FROM unnest(%(starts)s::bigint[], %(ends)s::bigint[]) AS p (start, "end")
           WHERE EXISTS (
               SELECT FROM erased x JOIN events e ON e.stream = x.stream
               WHERE e.position >= p.start AND (p."end" IS NULL OR e.position < p."end")
           )
       )
FROM scrubbed
