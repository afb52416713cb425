-- Copy the chain in order of position. Each row has the event's sealed values, its client by the index of clients, and
-- the checkpoint that covers the events up to it. The format is binary: nothing to unescape, and a hash is its 32
-- bytes. The columns of fixed width come first (ledger/store/copy.py).
COPY (
    SELECT e.position, e.version, e.recorded_at, e.prev_hash, e.hash, e.id::text,
           e.stream, e.type, e.body, s.salts, s.fields, c.client_id, k.note
    FROM events e
    LEFT JOIN sealed_fields s ON s.position = e.position AND {sealed}
    LEFT JOIN stream_clients c ON c.stream = e.stream AND (s.position IS NOT NULL OR e.version = 1)
    LEFT JOIN checkpoints k ON k.size = e.position
    WHERE {part}
    ORDER BY e.position
) TO STDOUT (FORMAT BINARY)
