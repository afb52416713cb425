-- The decisions of a run to tell somebody, in the order of their positions.
SELECT e.position, e.stream, e.body::json->'data'
FROM events e
WHERE e.position > %(after)s AND e.type = 'notification.decided' AND e.body::json->'data'->>'run' = %(run)s
ORDER BY e.position
