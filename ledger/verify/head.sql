-- The head, if there is one and no second; its time in microseconds since 1970, -1 where that is infinite.
SELECT origin, position, hash,
       CASE WHEN isfinite(recorded_at) THEN (extract(epoch FROM recorded_at) * 1000000)::bigint ELSE -1 END
FROM head
LIMIT 2
