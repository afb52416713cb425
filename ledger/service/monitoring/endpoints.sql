-- The definitions of each endpoint, by name, the newest last.
SELECT e.stream, e.body::json->'data', e.body::json->'actor'->>'id', e.position, e.recorded_at
FROM events e
WHERE e.type = 'endpoint.defined' AND e.stream LIKE 'endpoint-%%'
ORDER BY e.stream, e.version
