-- Since when the values of erasures are out of the files: for each position of an erasure, as of a position (null: now), the
-- time of the first scrub that covers it. An erasure that none covers has no row.
WITH scrubs AS MATERIALIZED (
    SELECT (s.body::jsonb->'data'->>'upto')::bigint AS upto, s.recorded_at
    FROM events s
    WHERE s.stream = 'scrubs' AND s.type = 'erasures.scrubbed' AND (%(as_of)s::bigint IS NULL OR s.position <= %(as_of)s)
)
SELECT a.position, min(s.recorded_at)
FROM unnest(%(positions)s::bigint[]) AS a (position) JOIN scrubs s ON s.upto >= a.position
GROUP BY a.position
