-- Select, for clients given by their own streams, each type of event in each of their streams, with the time of the
-- newest. The streams are those of all names that share the client's identifier.
SELECT k.stream, e.stream, e.type, max(e.recorded_at)
FROM unnest(%(streams)s::text[]) AS k (stream)
JOIN stream_clients o ON o.stream = k.stream
JOIN stream_clients c ON c.client_id = o.client_id
JOIN events e ON e.stream = c.stream
GROUP BY k.stream, e.stream, e.type
