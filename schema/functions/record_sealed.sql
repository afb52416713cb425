-- Stores the sealed values of the new events, and the client that each stream belongs to ("clients" has null for an event
-- without a client), with the position of the first event that names it. Called by append() under its lock.
--
-- An identifier has one stream `client-N` at most, whose first event names it (schema/clients.py). A second one is refused
-- (AL012), also in one batch: the unique index stream_clients_registered_idx leaves its row out. Nothing of it is logged.
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

    INSERT INTO stream_clients (stream, client_id, position)
    SELECT s.stream, s.client_id, s.position
    FROM unnest(positions, streams, clients) AS s (position, stream, client_id)
    WHERE s.client_id IS NOT NULL
    ON CONFLICT DO NOTHING;
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
    SELECT s.stream INTO taken
    FROM unnest(streams, clients) AS s (stream, client_id)
    WHERE s.client_id IS NOT NULL AND NOT EXISTS (SELECT FROM stream_clients c WHERE c.stream = s.stream)
    LIMIT 1;
    IF FOUND THEN
        PERFORM refuse_append('AL012', 'this identifier of a client is registered already', NULL, NULL, taken.stream);
    END IF;
END
$$;
