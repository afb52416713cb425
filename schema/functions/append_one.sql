-- Records a single event for append(), which says what it takes and has locked the row of head: "tip_…" is what it has,
-- "at" the time of the event. Does what append_many() does, in the same order, with fewer queries.
--
-- It takes only what is plain: nothing is refused and nothing is a replay; a new stream that the caller named is in no
-- category of numbers, and registers no client. Otherwise "position" is null and nothing is written: append_many() then
-- says what is wrong, or does the rest.
CREATE OR REPLACE FUNCTION append_one(
    tip_position bigint, tip_hash bytea, tip_at timestamptz, at timestamptz, head text, id uuid, stream text, type text,
    schema integer, expected text, preconditions text, sealed_lines integer[], sealed_names text[], sealed_salts bytea[],
    sealed_values text[], sent_us bigint, signature text, recorder bytea, session bytea, serial bigint, attestation bytea,
    OUT "position" bigint, OUT name text, OUT version bigint, OUT hash bytea
)
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
    next        bigint := tip_position + 1;
    body        text := head || ',"id":"' || id || '","schema":' || schema;
    parsed      jsonb;
    number      bigint;
    commitments text := '';
    salts       text := '';
    fields      text := '';
    client      text;
    known       text;
    named       text;
BEGIN
    IF body IS NULL OR type IS NULL OR stream IS NULL OR expected IS NULL OR stream = 'recording-keys' THEN
        RETURN;
    END IF;
    parsed := (head || '}')::jsonb;
    IF NOT parsed ?& '{actor,data}' OR parsed ?| '{id,schema,sealed,signature,stream,type}' THEN
        RETURN;
    END IF;
    named := 'client-' || (parsed->'data'->>'client');
    FOR s IN 1..coalesce(greatest(cardinality(sealed_lines), cardinality(sealed_names), cardinality(sealed_salts), cardinality(sealed_values)), 0) LOOP
        IF (sealed_lines[s] = 1 AND sealed_names[s] ~ '^[a-z][a-z_]*$' AND octet_length(sealed_salts[s]) = 32 AND sealed_values[s] IS NOT NULL
            AND (s = 1 OR sealed_names[s] COLLATE "C" > sealed_names[s - 1])) IS NOT TRUE THEN
            RETURN;
        END IF;
        commitments := commitments || ',"' || sealed_names[s] || '":"' || sealed_commitment(sealed_names[s], sealed_salts[s], sealed_values[s]::json) || '"';
        salts := salts || ',"' || sealed_names[s] || '":"' || encode(sealed_salts[s], 'hex') || '"';
        fields := fields || ',"' || sealed_names[s] || '":' || sealed_values[s];
        IF sealed_names[s] = 'client_id' THEN
            client := sealed_values[s]::json #>> '{}';
        END IF;
    END LOOP;
    IF commitments <> '' THEN
        body := body || ',"sealed":{' || substr(commitments, 2) || '}';
        fields := '{' || substr(fields, 2) || '}';
        parsed := fields::jsonb;
    END IF;
    IF signature IS NOT NULL THEN
        IF jsonb_typeof(signature::jsonb) <> 'object' THEN
            RETURN;
        END IF;
        body := body || ',"signature":' || signature;
    END IF;

    name := stream;
    IF right(stream, 1) = '-' THEN
        number := (SELECT k.last + 1 FROM stream_numbers k WHERE k.category = stream);
        name := stream || number;
        version := 1;
    ELSE
        version := coalesce((SELECT max(e.version) FROM events e WHERE e.stream = name), 0) + 1;
        IF version = 1 AND right(rtrim(name, '0123456789'), 1) = '-' THEN
            RETURN;
        END IF;
    END IF;
    known := (SELECT c.client_id FROM stream_clients c WHERE client IS NOT NULL AND c.stream = name);
    IF name IS NULL
       OR NOT (CASE expected WHEN 'any' THEN true WHEN 'no_stream' THEN version = 1 WHEN 'stream_exists' THEN version > 1
                             ELSE expected = (version - 1)::text END)
       OR known <> client OR (client IS NOT NULL AND known IS NULL AND starts_with(name, 'client-'))
       OR EXISTS (SELECT FROM erased_streams x WHERE x.stream IN (name, named))
       OR clock_is_ahead(clock_timestamp(), tip_at, to_timestamp(sent_us::numeric / 1000000))
       OR NOT EXISTS (SELECT FROM event_types t WHERE t.type = type AND t.version = schema)
       OR (CASE WHEN recorder IS NULL THEN EXISTS (SELECT FROM recording_keys)
                ELSE NOT EXISTS (SELECT FROM recording_keys k WHERE k.key = recorder AND k.replaced IS NULL) END)
    THEN
        RETURN;
    END IF;
    IF preconditions IS NOT NULL THEN
        IF EXISTS (
            SELECT FROM json_each_text(preconditions::json) p
            WHERE p.value IS DISTINCT FROM coalesce((SELECT max(e.version) FROM events e WHERE e.stream = p.key), 0)::text)
        THEN
            RETURN;
        END IF;
    END IF;

    body := body || ',"stream":' || to_json(name)::text || ',"type":"' || type || '"}';
    hash := event_hash(tip_hash, next, version, (extract(epoch FROM at) * 1000000)::bigint, body);
    INSERT INTO events AS e (position, id, stream, version, type, recorded_at, body, prev_hash, hash)
    VALUES (next, id, name, version, type, at, body, tip_hash, hash)
    ON CONFLICT ON CONSTRAINT events_id_key DO NOTHING;
    IF NOT FOUND THEN
        RETURN;  -- a replay
    END IF;
    IF commitments <> '' THEN
        INSERT INTO sealed_fields (position, salts, fields) VALUES (next, ('{' || substr(salts, 2) || '}')::json, fields::json);
        IF client IS NOT NULL AND known IS NULL THEN
            INSERT INTO stream_clients (stream, client_id, position) VALUES (name, client, next);
        END IF;
    END IF;
    IF number IS NOT NULL THEN
        UPDATE stream_numbers k SET last = number WHERE k.category = stream;
    END IF;
    IF recorder IS NOT NULL THEN
        PERFORM attest(next, next, recorder, session, serial, attestation, NULL, CASE WHEN number IS NULL THEN '{}' ELSE '{1}' END::integer[], '{}');
    END IF;
    UPDATE head h SET position = next, hash = append_one.hash, recorded_at = at;
    PERFORM pg_notify(current_schema(), next::text);
    position := next;
END
$$;
