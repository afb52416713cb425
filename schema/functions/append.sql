-- Records a batch of events. The only way to record an event.
--
-- batch: one JSON object in each line,
--   {"body": canonical JSON, "expected": "any" | "no_stream" | "stream_exists" | version,
--    "salts": {field: hex}, "fields": {field: value},            if the body has "sealed"
--    "preconditions": {stream: version}}                         versions that other streams must have; optional
-- The first line may begin with {"now":N, where N is the application's time in microseconds since 1970.
-- A stream whose name ends in "-" is a new stream: it gets the next number of its category, also in the body.
--
-- Returns a row for each line, in the order of lines. An id that is already recorded with the same content is a replay:
-- its original row is returned and nothing is written. All lines are recorded, or none.
--
-- Raises, with DETAIL {"line", "id", "stream", …} as JSON:
--   AL001 malformed line   AL002 id recorded with other content
--   AL003 the stream, or the stream of a precondition, is not at the expected version
--   AL004 commitment does not open   AL005 stream belongs to another client
--   AL007 the clock is ahead, see clock_is_ahead()   AL008 the number of a stream is too high, see record_numbers()
--   AL009 type and version are not in event_types   AL010 the signer refused this database, see stop_appends()
--
-- Lock: the row of head, from the first statement to the end of the caller's transaction. Positions are assigned and
-- committed under it, so a reader that sees position n sees 1..n. A crash before the commit leaves nothing.
CREATE OR REPLACE FUNCTION append(batch text)
RETURNS TABLE (line bigint, "position" bigint, id uuid, stream text, version bigint, recorded_at timestamptz, hash bytea, replayed boolean)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
-- Plans are cached from the first call on, perhaps for an empty table. Index probes are right at any size.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    before     head;
    entry      record;
    now_us     bigint;
    at         timestamptz;
    last       bigint;
    link       bytea;
    current    bigint;
    target     text;
    canonical  text;
    by_line    bigint[] := '{}';   -- the position of each line, old or new
    -- From here on one entry for each new event.
    positions  bigint[] := '{}';
    ids        uuid[] := '{}';
    streams    text[] := '{}';
    versions   bigint[] := '{}';
    types      text[] := '{}';
    bodies     text[] := '{}';
    links      bytea[] := '{}';
    hashes     bytea[] := '{}';
    salts      json[] := '{}';
    fields     json[] := '{}';
    kinds      text[] := '{}';     -- of this batch, found in event_types
    n          integer := 0;
    numbered   boolean[] := '{}';
    clients    text[] := '{}';
    sealing    boolean := false;
BEGIN
    -- An acknowledged event must survive a crash, also if the server defaults to asynchronous commits.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    SELECT * INTO STRICT before FROM head FOR UPDATE;
    IF before.stopped IS NOT NULL THEN
        PERFORM refuse_append('AL010', before.stopped);
    END IF;
    at := greatest(clock_timestamp(), before.recorded_at);
    now_us := (extract(epoch FROM at) * 1000000)::bigint;
    last := before.position;
    link := before.hash;

    FOR entry IN
        SELECT p.*,
               row_number() OVER (PARTITION BY p.stream, p.replays IS NULL ORDER BY p.line) AS nth
        FROM (SELECT l.*,
                     (SELECT e.position FROM events e WHERE e.id = l.id) AS replays,
                     (SELECT max(e.version) FROM events e WHERE e.stream = l.stream) AS stored,
                     CASE WHEN right(l.stream, 1) = '-' THEN coalesce(
                         (SELECT s.last FROM stream_numbers s WHERE s.category = l.stream), last_number(l.stream)
                     ) END AS number
              FROM parse_batch(batch) l) p
        ORDER BY p.line
    LOOP
        IF entry.fault IS NOT NULL THEN
            PERFORM refuse_append('AL001', entry.fault, entry.line, entry.id, entry.stream);
        END IF;
        IF NOT entry.opens THEN
            PERFORM refuse_append('AL004', 'a commitment in the body does not open to the sealed value', entry.line, entry.id, entry.stream);
        END IF;
        IF entry.replays IS NOT NULL THEN
            IF NOT is_replay(entry.replays, entry.body, entry.fields) THEN
                PERFORM refuse_append('AL002', 'this id is recorded with other content', entry.line, entry.id, entry.stream);
            END IF;
            by_line := by_line || entry.replays;
            CONTINUE;
        END IF;

        IF NOT entry.kind = ANY (kinds) THEN
            IF NOT EXISTS (SELECT FROM event_types t WHERE t.type = entry.type AND concat(t.type, '/', t.version) = entry.kind) THEN
                PERFORM refuse_append('AL009', format('the catalogue has no event type %s: run advice-ledger migrate', left(entry.kind, 100)),
                                      entry.line, entry.id, entry.stream);
            END IF;
            kinds := kinds || entry.kind;
        END IF;

        target := entry.stream;
        canonical := entry.body;
        current := coalesce(entry.stored, 0) + entry.nth - 1;
        IF right(target, 1) = '-' THEN
            target := target || entry.number + entry.nth;
            canonical := name_stream(canonical, entry.stream, entry.type, target);
            current := 0;
        END IF;
        IF NOT (CASE entry.expected
                WHEN 'any' THEN true
                WHEN 'no_stream' THEN current = 0
                WHEN 'stream_exists' THEN current > 0
                ELSE entry.expected = current::text
            END)
        THEN
            PERFORM refuse_append('AL003', format('expected %s, the stream is at version %s', entry.expected, current),
                                  entry.line, entry.id, entry.stream, entry.expected, current);
        END IF;

        IF entry.preconditions IS NOT NULL THEN
            PERFORM check_preconditions(entry.preconditions, streams, entry.line, entry.id, entry.stream);
        END IF;

        n := n + 1;
        numbered[n] := right(entry.stream, 1) = '-';
        last := last + 1;
        by_line := by_line || last;
        positions[n] := last;
        ids[n] := entry.id;
        streams[n] := target;
        versions[n] := current + 1;
        types[n] := entry.type;
        bodies[n] := canonical;
        links[n] := link;
        link := event_hash(link, last, current + 1, now_us, canonical);
        hashes[n] := link;
        salts[n] := entry.salts;
        fields[n] := entry.fields;
        clients[n] := entry.fields->>'client_id';
        sealing := sealing OR entry.fields IS NOT NULL;
    END LOOP;

    IF n > 0 THEN
        IF clock_is_ahead(clock_timestamp(), before.recorded_at, sent_at(batch)) THEN
            PERFORM refuse_append('AL007', 'the clock of the database has jumped ahead of the last event and of the application: correct the clocks');
        END IF;
        INSERT INTO events (position, id, stream, version, type, recorded_at, body, prev_hash, hash)
        SELECT e.position, e.id, e.stream, e.version, e.type, at, e.body, e.prev_hash, e.hash
        FROM unnest(positions, ids, streams, versions, types, bodies, links, hashes)
             AS e (position, id, stream, version, type, body, prev_hash, hash);
        IF sealing THEN
            PERFORM record_sealed(positions, streams, salts, fields, clients);
        END IF;
        IF 1 = ANY (versions) THEN
            PERFORM record_numbers(streams, versions, numbered);
        END IF;
        UPDATE head SET position = last, hash = link, recorded_at = at;
        PERFORM pg_notify(current_schema(), last::text);
    END IF;

    IF n = cardinality(by_line) THEN
        -- Without a replay the arrays have all that is to be returned.
        RETURN QUERY
            SELECT e.line, e.position, e.id, e.stream, e.version, at, e.hash, false
            FROM unnest(positions, ids, streams, versions, hashes)
                 WITH ORDINALITY AS e (position, id, stream, version, hash, line);
        RETURN;
    END IF;
    RETURN QUERY
        SELECT f.line, e.position, e.id, e.stream, e.version, e.recorded_at, e.hash, e.position <= before.position
        FROM unnest(by_line) WITH ORDINALITY AS f (position, line)
        JOIN events e ON e.position = f.position
        ORDER BY f.line;
END
$$;
