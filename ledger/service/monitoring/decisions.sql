-- Decisions by their positions.
SELECT e.position, e.stream, e.body::json->'data'
FROM events e
WHERE e.position = ANY (%(positions)s) AND e.type = 'notification.decided'
ORDER BY e.position
