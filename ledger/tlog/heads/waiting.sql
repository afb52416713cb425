-- Select the seconds for which the oldest event after the newest record of stream heads has waited for the next
-- record.
SELECT extract(epoch FROM clock_timestamp() - e.recorded_at)::float8
FROM events e
WHERE isfinite(e.recorded_at)
  AND e.position = 1 + coalesce((SELECT h.position FROM events h WHERE h.stream = %s ORDER BY h.version DESC LIMIT 1), 0)
