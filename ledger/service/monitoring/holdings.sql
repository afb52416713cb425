-- Select, for each stream of holdings or of valuations, the newest record up to a position that is not of a later day.
-- IS TRUE keeps the planner from the index of positions, which has all events: each stream has few.
SELECT h.position, h.id, w.stream, h.version, h.type, h.body, s.fields::text AS sealed_values, h.recorded_at
FROM unnest(%(streams)s::text[]) AS w (stream)
CROSS JOIN LATERAL (
    SELECT e.*
    FROM events e
    WHERE e.stream = w.stream AND (e.position <= %(upto)s) IS TRUE AND e.type = %(type)s
      AND e.body::json->'data'->>'as_of' <= %(day)s
    ORDER BY e.version DESC
    LIMIT 1
) h
LEFT JOIN sealed_fields s ON s.position = h.position
