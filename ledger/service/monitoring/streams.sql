-- The events of streams in a range of positions, with their sealed values and times. IS TRUE keeps the planner from the
-- index of positions, which has all events.
SELECT e.position, e.id, e.stream, e.version, e.type, e.body, s.fields::text AS sealed_values, e.recorded_at
FROM events e
LEFT JOIN sealed_fields s USING (position)
WHERE e.stream = ANY (%(streams)s) AND (e.position > %(after)s AND e.position <= %(upto)s) IS TRUE
ORDER BY e.stream, e.version
