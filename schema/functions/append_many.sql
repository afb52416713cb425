-- Records a batch of any events for append(), which says what it takes, returns and raises, and has locked the row of head:
-- "tip_…" is what that row has, "at" the time of the new events. Plans are made with the settings of append().
CREATE OR REPLACE FUNCTION append_many(
    tip_position bigint, tip_hash bytea, tip_at timestamptz, at timestamptz, heads text[], ids uuid[], streams text[], types text[], schemas integer[], expected text[], preconditions text[],
    sealed_lines integer[], sealed_names text[], sealed_salts bytea[], sealed_values text[], sent_us bigint,
    signatures text[], recorder bytea, session bytea, serial bigint, signature bytea, digests bytea,
    OUT before bigint, OUT positions bigint[], OUT names text[], OUT versions bigint[], OUT times timestamptz[], OUT hashes bytea[]
)
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
    entry        record;
    now_us       bigint;
    link         bytea;
    last         bigint;
    i            integer;           -- of an event in the batch
    s            integer := 1;      -- of the next sealed value
    n            integer := 0;      -- of new events
    kind         text;
    body         text;
    parsed       jsonb;
    named        text[] := '{}';    -- streams of clients that events name
    target       text;
    current      bigint;
    commitments  text;
    salts        text;
    fields       text;
    client       text;
    kinds        text[] := '{}';    -- of this batch, found in event_types
    -- One entry for each new event.
    new_at       bigint[] := '{}';
    new_ids      uuid[] := '{}';
    new_names    text[] := '{}';
    new_versions bigint[] := '{}';
    new_types    text[] := '{}';
    bodies       text[] := '{}';
    links        bytea[] := '{}';
    new_hashes   bytea[] := '{}';
    all_salts    json[] := '{}';
    all_fields   json[] := '{}';
    clients      text[] := '{}';
    numbered     boolean[] := '{}';
    -- Lines, for the attestation.
    given_number integer[] := '{}';
    replayed     integer[] := '{}';
BEGIN
    now_us := (extract(epoch FROM at) * 1000000)::bigint;
    before := tip_position;
    last := before;
    link := tip_hash;
    positions := '{}';

    FOR entry IN
        SELECT l.*, row_number() OVER (PARTITION BY l.stream, l.replays IS NULL ORDER BY l.line) AS nth
        FROM (SELECT a.line, a.stream,
                     (SELECT e.position FROM events e WHERE e.id = a.id) AS replays,
                     (SELECT max(e.version) FROM events e WHERE e.stream = a.stream) AS stored,
                     CASE WHEN right(a.stream, 1) = '-' THEN coalesce(
                         (SELECT k.last FROM stream_numbers k WHERE k.category = a.stream), last_number(a.stream)
                     ) END AS number
              FROM unnest(ids, streams) WITH ORDINALITY AS a (id, stream, line)) l
        ORDER BY l.line
    LOOP
        i := entry.line;
        target := entry.stream;
        kind := types[i] || '/' || schemas[i];
        body := heads[i] || ',"id":"' || ids[i] || '","schema":' || schemas[i];
        IF body IS NULL OR kind IS NULL OR target IS NULL OR expected[i] IS NULL THEN
            PERFORM refuse_append('AL001', 'head, id, stream, type, schema and expected are required', i, ids[i], target);
        END IF;
        -- Folds read jsonb, which takes less than json: the cast fails on U+0000 and on numbers without end.
        parsed := (heads[i] || '}')::jsonb;
        IF parsed->'data' ? 'client' THEN
            named := named || concat('client-', parsed->'data'->>'client');
        END IF;
        IF NOT parsed ?& '{actor,data}' OR parsed ?| '{id,schema,sealed,signature,stream,type}' THEN
            PERFORM refuse_append('AL001', 'the head of a body is an object of its members up to "data"', i, ids[i], target);
        END IF;

        salts := NULL;
        fields := NULL;
        client := NULL;
        IF sealed_lines[s] = i THEN
            commitments := '';
            salts := '';
            fields := '';
            LOOP
                -- In this order no name is there twice.
                IF (sealed_names[s] ~ '^[a-z][a-z_]*$' AND octet_length(sealed_salts[s]) = 32 AND sealed_values[s] IS NOT NULL
                    AND (commitments = '' OR sealed_names[s] COLLATE "C" > sealed_names[s - 1])) IS NOT TRUE THEN
                    PERFORM refuse_append('AL004', 'a sealed value needs a name in order, a value, and a salt of 32 bytes', i, ids[i], target);
                END IF;
                commitments := commitments || ',"' || sealed_names[s] || '":"' || sealed_commitment(sealed_names[s], sealed_salts[s], sealed_values[s]::json) || '"';
                salts := salts || ',"' || sealed_names[s] || '":"' || encode(sealed_salts[s], 'hex') || '"';
                fields := fields || ',"' || sealed_names[s] || '":' || sealed_values[s];
                IF sealed_names[s] = 'client_id' THEN
                    client := sealed_values[s]::json #>> '{}';
                END IF;
                s := s + 1;
                EXIT WHEN sealed_lines[s] IS DISTINCT FROM i;
            END LOOP;
            body := body || ',"sealed":{' || substr(commitments, 2) || '}';
            salts := '{' || substr(salts, 2) || '}';
            fields := '{' || substr(fields, 2) || '}';
            parsed := fields::jsonb;
        END IF;
        IF signatures[i] IS NOT NULL THEN
            IF jsonb_typeof(signatures[i]::jsonb) <> 'object' THEN
                PERFORM refuse_append('AL001', 'a signature is an object', i, ids[i], target);
            END IF;
            body := body || ',"signature":' || signatures[i];
        END IF;

        IF entry.replays IS NOT NULL THEN
            body := body || ',"stream":' || to_json(target)::text || ',"type":' || to_json(types[i])::text || '}';
            IF NOT is_replay(entry.replays, body, fields::json) THEN
                PERFORM refuse_append('AL002', 'this id is recorded with other content', i, ids[i], target);
            END IF;
            positions[i] := entry.replays;
            replayed := replayed || i;
            CONTINUE;
        END IF;

        IF NOT kind = ANY (kinds) THEN
            IF NOT EXISTS (SELECT FROM event_types t WHERE t.type = types[i] AND t.version = schemas[i]) THEN
                PERFORM refuse_append('AL009', format('the catalogue has no event type %s: run advice-ledger migrate', left(kind, 100)),
                                      i, ids[i], target);
            END IF;
            kinds := kinds || kind;
        END IF;

        n := n + 1;
        numbered[n] := entry.number IS NOT NULL;
        IF numbered[n] THEN
            given_number := given_number || i;
            target := target || entry.number + entry.nth;
            current := 0;
        ELSE
            current := coalesce(entry.stored, 0) + entry.nth - 1;
        END IF;
        IF NOT (CASE expected[i]
                WHEN 'any' THEN true
                WHEN 'no_stream' THEN current = 0
                WHEN 'stream_exists' THEN current > 0
                ELSE expected[i] = current::text
            END)
        THEN
            PERFORM refuse_append('AL003', format('expected %s, the stream is at version %s', expected[i], current),
                                  i, ids[i], entry.stream, expected[i], current);
        END IF;
        IF preconditions[i] IS NOT NULL THEN
            PERFORM check_preconditions(preconditions[i]::json, new_names, i, ids[i], entry.stream);
        END IF;

        -- A type of the catalogue is plain text.
        body := body || ',"stream":' || to_json(target)::text || ',"type":"' || types[i] || '"}';
        last := last + 1;
        positions[i] := last;
        new_at[n] := last;
        new_ids[n] := ids[i];
        new_names[n] := target;
        new_versions[n] := current + 1;
        new_types[n] := types[i];
        bodies[n] := body;
        links[n] := link;
        link := event_hash(link, last, current + 1, now_us, body);
        new_hashes[n] := link;
        all_salts[n] := salts;
        all_fields[n] := fields;
        clients[n] := client;
    END LOOP;
    IF s <= greatest(cardinality(sealed_lines), cardinality(sealed_names), cardinality(sealed_salts), cardinality(sealed_values)) THEN
        PERFORM refuse_append('AL001', 'each sealed value belongs to an event, in the order of events');
    END IF;

    IF n > 0 THEN
        IF EXISTS (SELECT FROM erased_streams x WHERE x.stream = ANY (new_names || named)) THEN
            PERFORM refuse_append('AL013', 'this client was erased: nothing more is recorded of it');
        END IF;
        IF clock_is_ahead(clock_timestamp(), tip_at, to_timestamp(sent_us::numeric / 1000000)) THEN
            PERFORM refuse_append('AL007', 'the clock of the database has jumped ahead of the last event and of the application: correct the clocks');
        END IF;
        INSERT INTO events (position, id, stream, version, type, recorded_at, body, prev_hash, hash)
        SELECT e.position, e.id, e.stream, e.version, e.type, at, e.body, e.prev_hash, e.hash
        FROM unnest(new_at, new_ids, new_names, new_versions, new_types, bodies, links, new_hashes)
             AS e (position, id, stream, version, type, body, prev_hash, hash);
        IF s > 1 THEN
            PERFORM record_sealed(new_at, new_names, all_salts, all_fields, clients);
        END IF;
        IF 1 = ANY (new_versions) THEN
            PERFORM record_numbers(new_names, new_versions, numbered);
        END IF;
        PERFORM check_recorder(recorder);
        IF recorder IS NOT NULL THEN
            PERFORM attest(before + 1, last, recorder, session, serial, signature, digests, given_number, replayed);
        END IF;
        IF 'recording-keys' = ANY (new_names) THEN
            PERFORM register_recorders(before + 1, last, recorder);
        END IF;
        UPDATE head SET position = last, hash = link, recorded_at = at;
        PERFORM pg_notify(current_schema(), last::text);
    END IF;

    IF n = cardinality(positions) THEN
        -- Without a replay the arrays have all that is to be returned.
        names := new_names;
        versions := new_versions;
        times := ARRAY[at];
        hashes := new_hashes;
        RETURN;
    END IF;
    SELECT array_agg(e.stream ORDER BY f.line), array_agg(e.version ORDER BY f.line), array_agg(e.recorded_at ORDER BY f.line),
           array_agg(e.hash ORDER BY f.line)
    INTO STRICT names, versions, times, hashes
    FROM unnest(positions) WITH ORDINALITY AS f (position, line)
    JOIN events e ON e.position = f.position;
END
$$;
