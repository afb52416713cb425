-- Copy each stream and its last version, from the index alone.
COPY (
    SELECT max(version), stream
    FROM events
    GROUP BY stream
    ORDER BY stream
) TO STDOUT (FORMAT BINARY)
