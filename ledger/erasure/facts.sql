-- Select what the streams of a client have. Each row is a stream and a type of event: its last version and newest
-- time, the number of these events that have sealed values, and the number of these values. The client is the one of
-- the given streams, under all of its identifiers.
SELECT e.stream, e.type, max(e.version), max(e.recorded_at), count(s.position),
       coalesce(sum((SELECT count(*) FROM json_object_keys(s.salts))), 0)::bigint
FROM stream_clients c
JOIN events e ON e.stream = c.stream
LEFT JOIN sealed_fields s ON s.position = e.position
WHERE c.client_id = ANY (ARRAY(SELECT k.client_id FROM stream_clients k WHERE k.stream = ANY (%(streams)s)))
GROUP BY e.stream, e.type
