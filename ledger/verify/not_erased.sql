-- Select the positions of events that still have sealed values, though a later event erases their stream.
SELECT e.position, e.stream
FROM unnest(%(streams)s::text[], %(positions)s::bigint[]) AS x (stream, position)
JOIN events e ON e.stream = x.stream AND e.position < x.position
JOIN sealed_fields s ON s.position = e.position
ORDER BY e.position
LIMIT 100
