-- The whole chain in order of position, with the sealed values of each event and the client that the stream index has for it.
-- Binary: rows need no unescaping, hashes are their 32 bytes. The columns of fixed width come first (ledger/copy_out.py).
-- Server and client work side by side, so the joins are free while each row costs the server less than the client.
COPY (
    SELECT e.position, e.version, e.recorded_at, e.prev_hash, e.hash, e.id::text,
           e.stream, e.type, e.body, s.salts, s.fields, c.client_id
    FROM events e
    LEFT JOIN sealed_fields s ON s.position = e.position
    LEFT JOIN stream_clients c ON c.stream = e.stream AND s.position IS NOT NULL
    ORDER BY e.position
) TO STDOUT (FORMAT BINARY)
