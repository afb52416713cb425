-- For each read model its position, the events that it has not folded yet, the error that stopped it, and for how many
-- seconds it has stayed at its position although events wait.
SELECT p.name, p.position, h.position - p.position, p.error,
       coalesce(extract(epoch FROM clock_timestamp() - waits.since), 0)::float8
FROM head h CROSS JOIN projections p LEFT JOIN LATERAL (
    SELECT greatest(e.recorded_at, p.updated_at) AS since
    FROM events e
    WHERE e.position = p.position + 1 AND isfinite(e.recorded_at)
) waits ON true
ORDER BY p.name
