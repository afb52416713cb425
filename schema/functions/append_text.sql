-- append() as processes of an earlier version call it, which go on for as long as an upgrade takes. It has no other use.
-- It has no attestation, so a ledger with recording keys takes nothing by it (AL011).
--
-- batch: one JSON object in each line,
--   {"body": canonical JSON, "expected": "any" | "no_stream" | "stream_exists" | version,
--    "salts": {field: hex}, "fields": {field: value},            if the body has "sealed"
--    "preconditions": {stream: version}}                         versions that other streams must have; optional
-- The first line may begin with {"now":N, where N is the application's time in microseconds since 1970.
--
-- Returns a row for each line, in the order of lines. Raises what append() raises; also AL001 for a malformed line, and
-- AL004 for a commitment that does not open.
CREATE OR REPLACE FUNCTION append(batch text)
RETURNS TABLE (line bigint, "position" bigint, id uuid, stream text, version bigint, recorded_at timestamptz, hash bytea, replayed boolean)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
#variable_conflict use_column
DECLARE
    entry         record;
    tail          text;
    answer        record;
    heads         text[] := '{}';
    ids           uuid[] := '{}';
    streams       text[] := '{}';
    types         text[] := '{}';
    schemas       integer[] := '{}';
    expected      text[] := '{}';
    preconditions text[] := '{}';
    lines         integer[] := '{}';
    names         text[] := '{}';
    salts         bytea[] := '{}';
    contents      text[] := '{}';
    field         record;
BEGIN
    FOR entry IN SELECT l.* FROM parse_batch(batch) l ORDER BY l.line LOOP
        IF entry.fault IS NOT NULL THEN
            PERFORM refuse_append('AL001', entry.fault, entry.line, entry.id, entry.stream);
        END IF;
        IF NOT entry.opens THEN
            PERFORM refuse_append('AL004', 'a commitment in the body does not open to the sealed value', entry.line, entry.id, entry.stream);
        END IF;
        IF (entry.schema ~ '^[1-9][0-9]{0,8}$') IS NOT TRUE THEN
            PERFORM refuse_append('AL009', format('the catalogue has no event type %s/%s', left(entry.type, 90), left(entry.schema, 10)),
                                  entry.line, entry.id, entry.stream);
        END IF;
        tail := concat(',"id":"', entry.id, '","schema":', entry.schema, ',"sealed":' || entry.sealed::text,
                       ',"stream":', to_json(entry.stream), ',"type":', to_json(entry.type), '}');
        IF right(entry.body, length(tail)) <> tail THEN
            PERFORM refuse_append('AL001', 'the body is not canonical', entry.line, entry.id, entry.stream);
        END IF;
        heads := heads || left(entry.body, -length(tail));
        ids := ids || entry.id;
        streams := streams || entry.stream;
        types := types || entry.type;
        schemas := schemas || entry.schema::integer;
        expected := expected || entry.expected;
        preconditions := preconditions || entry.preconditions::text;
        FOR field IN SELECT f.key, f.value FROM json_each(entry.fields) f LOOP
            lines := lines || entry.line::integer;
            names := names || field.key;
            salts := salts || decode(entry.salts->>field.key, 'hex');
            contents := contents || field.value::text;
        END LOOP;
    END LOOP;

    SELECT * INTO STRICT answer FROM append(
        heads, ids, streams, types, schemas, expected, preconditions, lines, names, salts, contents,
        (extract(epoch FROM sent_at(batch)) * 1000000)::bigint, NULL, NULL, NULL, NULL, NULL, NULL);
    RETURN QUERY
        SELECT r.line, r.position, r.id, r.stream, r.version, coalesce(r.recorded_at, answer.times[1]), r.hash, r.position <= answer.before
        FROM unnest(answer.positions, ids, answer.names, answer.versions, answer.times, answer.hashes)
             WITH ORDINALITY AS r (position, id, stream, version, recorded_at, hash, line)
        WHERE r.position IS NOT NULL;
END
$$;
