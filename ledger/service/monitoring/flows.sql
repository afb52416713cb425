-- Select, for each stream of flows, the newest records up to a position that are not of a later day, the oldest first.
-- IS TRUE keeps the planner from the index of positions, which has all events: each stream has few.
SELECT f.position, f.id, w.stream, f.version, f.type, f.body, s.fields::text AS sealed_values, f.recorded_at
FROM unnest(%(streams)s::text[]) AS w (stream)
CROSS JOIN LATERAL (
    SELECT e.*
    FROM events e
    WHERE e.stream = w.stream AND (e.position <= %(upto)s) IS TRUE AND e.body::json->'data'->>'date' <= %(day)s
    ORDER BY e.version DESC
    LIMIT %(most)s
) f
LEFT JOIN sealed_fields s ON s.position = f.position
ORDER BY w.stream, f.version
