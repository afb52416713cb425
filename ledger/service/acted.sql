-- Select, by stream, the subjects of the events of these types, and those for whom they acted. For an imported event,
-- this is the subject who acted then.
SELECT e.stream, array_agg(DISTINCT n.name)
FROM events e
CROSS JOIN LATERAL (SELECT coalesce(e.body::jsonb->'backfill', e.body::jsonb)->'actor' AS actor) a
CROSS JOIN LATERAL (VALUES (a.actor->>'id'), (a.actor->>'on_behalf_of')) n(name)
WHERE e.stream = ANY (%(streams)s) AND e.type = ANY (%(types)s) AND n.name IS NOT NULL
GROUP BY e.stream
