-- Since when the values of erasures are out of the files: for each position of an erasure, as of a position (null: now), the
-- time of the first scrub that covers it. An erasure that none covers has no row.
SELECT a.position, min(s.recorded_at)
FROM unnest(%(positions)s::bigint[]) AS a (position)
JOIN events s ON s.stream = 'scrubs' AND s.type = 'erasures.scrubbed' AND (s.body::jsonb->'data'->>'upto')::bigint >= a.position
WHERE %(as_of)s::bigint IS NULL OR s.position <= %(as_of)s
GROUP BY a.position
