-- The relation that folds read: the events in scope, the parts of their bodies (parsed once), their sealed values and
-- their stream's client, the last two null once erased.
SELECT e.position, e.id, e.stream, e.version, e.type, e.recorded_at, b.actor, b.data, s.fields AS sealed, c.client_id
FROM events e
CROSS JOIN LATERAL json_to_record(e.body::json) AS b (actor json, data json)
LEFT JOIN sealed_fields s ON s.position = e.position
LEFT JOIN stream_clients c ON c.stream = e.stream
WHERE {scope}
