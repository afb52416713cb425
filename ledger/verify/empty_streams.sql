-- Select the streams that are in the index of clients and have no first event. Read only indexes.
COPY (
    SELECT c.stream
    FROM stream_clients c
    LEFT JOIN events e ON e.stream = c.stream AND e.version = 1
    WHERE e.stream IS NULL
    ORDER BY c.stream
) TO STDOUT (FORMAT BINARY)
