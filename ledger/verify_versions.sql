-- The events again, by the index over streams. No stream has to be remembered to see that its versions are contiguous.
COPY (
    SELECT position, version, stream
    FROM events
    ORDER BY stream, version, position
) TO STDOUT (FORMAT BINARY)
