-- The head; the time in microseconds since 1970, and none where it is infinite.
SELECT origin, position, hash,
       CASE WHEN isfinite(recorded_at) THEN (extract(epoch FROM recorded_at) * 1000000)::bigint ELSE -1 END
FROM head
LIMIT 2
