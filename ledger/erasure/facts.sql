-- What the streams of a client have: for each stream and type of event its last version and newest time, how many of these
-- events have sealed values, and how many values that are. The client is that of the given streams, under all identifiers.
SELECT e.stream, e.type, max(e.version), max(e.recorded_at), count(s.position),
       coalesce(sum((SELECT count(*) FROM json_object_keys(s.salts))), 0)::bigint
FROM stream_clients c
JOIN events e ON e.stream = c.stream
LEFT JOIN sealed_fields s ON s.position = e.position
WHERE c.client_id = ANY (ARRAY(SELECT k.client_id FROM stream_clients k WHERE k.stream = ANY (%(streams)s)))
GROUP BY e.stream, e.type
