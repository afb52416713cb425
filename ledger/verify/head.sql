-- Select the head: two rows if somebody added a second head. The time is in microseconds since 1970; -1 if it is
-- infinite.
SELECT origin, position, hash,
       CASE WHEN isfinite(recorded_at) THEN (extract(epoch FROM recorded_at) * 1000000)::bigint ELSE -1 END
FROM head
LIMIT 2
