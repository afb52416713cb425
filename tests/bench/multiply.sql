-- Copies the first events of a benchmark's ledger behind its end, with ids, streams and clients of their own, in a chain
-- that verifies. For ledgers that would take too long to fill through append(). As a superuser, in one transaction.
--
-- template: the events, in order of position, each with the parts of its body, and number, client and sealed values.
CREATE TEMPORARY TABLE template AS
SELECT e.position AS nth, e.version, e.type,
       split_part(e.body, ',"id":"', 1) AS head, e.body::json->>'schema' AS schema, (e.body::json->'sealed')::text AS sealed,
       split_part(e.stream, '-', 2)::bigint AS request,
       split_part(s.fields->>'client_id', '-', 2)::bigint AS client,
       decode(s.salts->>'client_id', 'hex') AS salt, s.salts, s.fields
FROM events e JOIN sealed_fields s USING (position);

CREATE FUNCTION pg_temp.multiply(first integer, last integer, clients bigint) RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    tip      head;
    one      record;
    requests bigint := (SELECT max(request) FROM template);
    size     bigint := (SELECT max(nth) FROM template);
    at       timestamptz;
    at_us    bigint;
    link     bytea;
    n        integer;
    ids      uuid[];
    streams  text[];
    bodies   text[];
    links    bytea[];
    hashes   bytea[];
    named    text[];
BEGIN
    FOR copy IN first..last LOOP
        SELECT * INTO STRICT tip FROM head;
        at := greatest(clock_timestamp(), tip.recorded_at);
        at_us := (extract(epoch FROM at) * 1000000)::bigint;
        link := tip.hash;
        ids := '{}';
        streams := '{}';
        bodies := '{}';
        links := '{}';
        hashes := '{}';
        named := '{}';
        FOR one IN
            -- Ids of version 7, so that new ones are neighbours in the index.
            SELECT t.*, (lpad(to_hex(at_us / 1000), 12, '0') || '7' || lpad(to_hex(t.nth & 4095), 3, '0')
                         || '8000' || lpad(to_hex(copy), 4, '0') || lpad(to_hex(t.nth), 8, '0'))::uuid AS id,
                   'request-' || t.request + copy * requests AS stream,
                   'client-' || lpad((t.client + copy * clients)::text, 7, '0') AS client_id
            FROM template t ORDER BY t.nth
        LOOP
            n := one.nth;
            ids[n] := one.id;
            streams[n] := one.stream;
            named[n] := one.client_id;
            bodies[n] := one.head || ',"id":"' || one.id || '","schema":' || one.schema || ',"sealed":'
                || CASE WHEN one.client IS NULL THEN one.sealed
                        ELSE '{"client_id":"' || sealed_commitment('client_id', one.salt, to_json(one.client_id)) || '"}' END
                || ',"stream":"' || one.stream || '","type":"' || one.type || '"}';
            links[n] := link;
            link := event_hash(link, tip.position + n, one.version, at_us, bodies[n]);
            hashes[n] := link;
        END LOOP;
        INSERT INTO events (position, id, stream, version, type, recorded_at, body, prev_hash, hash)
        SELECT tip.position + t.nth, m.id, m.stream, t.version, t.type, at, m.body, m.link, m.hash
        FROM unnest(ids, streams, bodies, links, hashes) WITH ORDINALITY AS m (id, stream, body, link, hash, nth)
        JOIN template t USING (nth) ORDER BY t.nth;
        INSERT INTO sealed_fields (position, salts, fields)
        SELECT tip.position + t.nth, t.salts,
               CASE WHEN t.client IS NULL THEN t.fields ELSE ('{"client_id":' || to_json(m.client) || '}')::json END
        FROM unnest(named) WITH ORDINALITY AS m (client, nth) JOIN template t USING (nth) ORDER BY t.nth;
        INSERT INTO stream_clients (stream, client_id, position)
        SELECT m.stream, m.client, tip.position + t.nth
        FROM unnest(streams, named) WITH ORDINALITY AS m (stream, client, nth) JOIN template t USING (nth)
        WHERE t.client IS NOT NULL ORDER BY t.nth;
        UPDATE stream_numbers SET last = (copy + 1) * requests WHERE category = 'request-';
        UPDATE head SET position = tip.position + size, hash = link, recorded_at = at;
    END LOOP;
END
$$;
