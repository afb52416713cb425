-- Copy the selected events up to the checkpoint, in order of position, with their sealed values. The columns are those
-- of ledger/verify/events.sql; the last one, the client, is NULL here.
COPY (
    SELECT e.position, e.version, e.recorded_at, e.prev_hash, e.hash, e.id::text,
           e.stream, e.type, e.body, s.salts, s.fields, NULL::text
    FROM events e
    LEFT JOIN sealed_fields s ON s.position = e.position
    WHERE {which} AND e.position <= {size}
    ORDER BY e.position
) TO STDOUT (FORMAT BINARY)
