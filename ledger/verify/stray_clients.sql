-- Select the streams, by the positions of their first events, in which no event commits to a client. A pattern, not a
-- cast to jsonb, finds the commitment, because a body that somebody changed may be invalid JSON.
SELECT first.position, first.stream
FROM events first
WHERE first.position = ANY (%s)
  AND NOT EXISTS (
      SELECT FROM events e
      WHERE e.stream = first.stream AND e.body ~ '"sealed":\{[^}]*"client_id":"[0-9a-f]{64}"'
  )
ORDER BY first.position
