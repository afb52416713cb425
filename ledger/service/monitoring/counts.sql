-- Select the number of events of each type that a run has recorded.
SELECT e.type, count(*)
FROM events e
WHERE e.position > %(after)s
  AND e.type IN ('alert.raised', 'alert.closed', 'notification.decided')
  AND e.body::json->'data'->>'run' = %(run)s
GROUP BY e.type
