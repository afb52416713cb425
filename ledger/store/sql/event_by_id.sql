SELECT e.position, e.id, e.stream, e.version, e.recorded_at, e.hash, e.type, e.body, s.fields::text
FROM events e
LEFT JOIN sealed_fields s USING (position)
WHERE e.id = ANY (%s)
