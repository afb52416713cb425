-- Copy the rows of events.sql for a part of the chain, without checkpoints.
COPY (
    SELECT e.position, e.version, e.recorded_at, e.prev_hash, e.hash, e.id::text,
           e.stream, e.type, e.body, s.salts, s.fields, c.client_id
    FROM events e
    LEFT JOIN sealed_fields s ON s.position = e.position AND {sealed}
    LEFT JOIN stream_clients c ON c.stream = e.stream AND (s.position IS NOT NULL OR e.version = 1)
    WHERE {part}
    ORDER BY e.position
) TO STDOUT (FORMAT BINARY)
