-- Stores the sealed values of the new events, and the client that each stream belongs to ("clients" has null for an event
-- without a client). Called by append() under its lock.
CREATE OR REPLACE FUNCTION record_sealed(positions bigint[], streams text[], salts json[], fields json[], clients text[])
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    stored bigint;
    taken  record;
BEGIN
    INSERT INTO sealed_fields (position, salts, fields)
    SELECT s.position, s.salts, s.fields
    FROM unnest(positions, salts, fields) AS s (position, salts, fields)
    WHERE s.fields IS NOT NULL;

    INSERT INTO stream_clients (stream, client_id)
    SELECT s.stream, s.client_id
    FROM unnest(streams, clients) AS s (stream, client_id)
    WHERE s.client_id IS NOT NULL
    ON CONFLICT (stream) DO NOTHING;
    GET DIAGNOSTICS stored = ROW_COUNT;

    -- All streams were new, so none belongs to another client.
    IF stored = cardinality(array_remove(clients, NULL)) THEN
        RETURN;
    END IF;
    SELECT s.line, s.stream INTO taken
    FROM unnest(streams, clients) WITH ORDINALITY AS s (stream, client_id, line)
    JOIN stream_clients c ON c.stream = s.stream
    WHERE s.client_id <> c.client_id
    LIMIT 1;
    IF FOUND THEN
        PERFORM refuse_append('AL005', 'the stream belongs to another client', NULL, NULL, taken.stream);
    END IF;
END
$$;
