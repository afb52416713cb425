-- Select the number of events that no checkpoint up to a size covers, and the seconds for which they have waited:
-- since the oldest was recorded or, if that is later, since the newest checkpoint was signed.
SELECT greatest(h.position - c.size, 0), coalesce(extract(epoch FROM clock_timestamp() - waits.since), 0)::float8
FROM head h CROSS JOIN (
    SELECT coalesce(max(size), 0) AS size, max(created_at) FILTER (WHERE isfinite(created_at)) AS created_at
    FROM (SELECT size, created_at FROM checkpoints WHERE size <= %s ORDER BY size DESC LIMIT 1) newest
) c LEFT JOIN LATERAL (
    SELECT greatest(e.recorded_at, c.created_at) AS since
    FROM events e
    WHERE e.position = least(c.size, h.position) + 1 AND isfinite(e.recorded_at)
) waits ON true
