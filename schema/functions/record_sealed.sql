-- Stores the sealed values of the new events, and which client each stream belongs to. Called by append() under its lock.
CREATE OR REPLACE FUNCTION record_sealed(positions bigint[], streams text[], salts json[], fields json[])
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    taken record;
BEGIN
    INSERT INTO sealed_fields (position, salts, fields)
    SELECT s.position, s.salts, s.fields
    FROM unnest(positions, salts, fields) AS s (position, salts, fields)
    WHERE s.fields IS NOT NULL;

    INSERT INTO stream_clients (stream, client_id)
    SELECT s.stream, s.fields->>'client_id'
    FROM unnest(streams, fields) AS s (stream, fields)
    WHERE s.fields->>'client_id' IS NOT NULL
    ON CONFLICT (stream) DO NOTHING;

    SELECT s.line, s.stream INTO taken
    FROM unnest(streams, fields) WITH ORDINALITY AS s (stream, fields, line)
    JOIN stream_clients c ON c.stream = s.stream
    WHERE s.fields->>'client_id' <> c.client_id
    LIMIT 1;
    IF FOUND THEN
        PERFORM refuse_append('AL005', 'the stream belongs to another client', NULL, NULL, taken.stream);
    END IF;
END
$$;
