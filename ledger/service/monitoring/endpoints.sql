-- The newest definition of each endpoint, by name.
SELECT DISTINCT ON (e.stream) e.stream, e.body::json->'data', e.body::json->'actor'->>'id', e.position, e.recorded_at
FROM events e
WHERE e.type = 'endpoint.defined' AND e.stream LIKE 'endpoint-%%'
ORDER BY e.stream, e.version DESC
