-- Select events by position, with all that is needed to compute their hashes again. An infinite recorded_at has no
-- microseconds: it becomes -1, which matches no hash.
SELECT e.position, e.id, e.stream, e.version, e.type, e.body, s.fields::text AS sealed_values, s.salts::text AS salts,
       e.prev_hash, e.hash AS stored_hash,
       CASE WHEN isfinite(e.recorded_at) THEN (extract(epoch FROM e.recorded_at) * 1000000)::bigint ELSE -1 END
           AS recorded_at_us
FROM events e
LEFT JOIN sealed_fields s USING (position)
WHERE e.position = ANY (%s)
ORDER BY e.position
