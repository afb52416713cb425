-- Select the newest record of stream heads that a checkpoint of this size covers, with its blinding; NULL if that was
-- erased.
SELECT e.position, e.version, (extract(epoch FROM e.recorded_at) * 1000000)::bigint, e.prev_hash, e.hash, e.body, s.fields ->> 'blinding'
FROM events e
LEFT JOIN sealed_fields s ON s.position = e.position
WHERE e.stream = %(stream)s AND e.position <= %(size)s
ORDER BY e.version DESC
LIMIT 1
