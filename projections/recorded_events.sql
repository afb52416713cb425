-- Events as they were recorded, with the values and salts of their sealed fields that were not erased.
SELECT e.position, e.id, e.stream, e.version, e.type, e.recorded_at, e.body, e.prev_hash, e.hash,
       s.salts::text, s.fields::text
FROM events e
LEFT JOIN sealed_fields s ON s.position = e.position
WHERE e.position = ANY (%s)
ORDER BY e.position
