-- Streams that the index of clients has and that have no first event, from the indexes alone.
COPY (
    SELECT c.stream
    FROM stream_clients c
    LEFT JOIN events e ON e.stream = c.stream AND e.version = 1
    WHERE e.stream IS NULL
    ORDER BY c.stream
) TO STDOUT (FORMAT BINARY)
