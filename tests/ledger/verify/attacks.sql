-- Changes that a superuser could make to the tables. Each block begins with its name, the one finding that must come of
-- it and where; it is done to twelve events: at odd positions the requests 1 to 6, with two sealed fields, at even ones
-- their answers, with one sealed field, or at positions 6 and 12 a failure, with none. The first block has what others
-- use.

--: tools

CREATE FUNCTION pg_temp.rehash(at bigint) RETURNS void LANGUAGE sql AS $$
    UPDATE events
    SET hash = event_hash(prev_hash, position, version, (extract(epoch FROM recorded_at) * 1000000)::bigint, body)
    WHERE position = at
$$;

CREATE FUNCTION pg_temp.move(at bigint, onto bigint) RETURNS void LANGUAGE sql AS $$
    UPDATE events SET position = onto WHERE position = at
$$;

CREATE FUNCTION pg_temp.move_sealed(at bigint, onto bigint) RETURNS void LANGUAGE sql AS $$
    UPDATE sealed_fields SET position = onto WHERE position = at
$$;

-- Room at position 5: what stood there stands at 6, and so on.
CREATE FUNCTION pg_temp.push() RETURNS void LANGUAGE sql AS $$
    UPDATE events SET position = position + 1000 WHERE position >= 5;
    UPDATE events SET position = position - 999 WHERE position > 1000
$$;

-- Position 5 closed: the event at 6 moves there, and so on.
CREATE FUNCTION pg_temp.pull() RETURNS void LANGUAGE sql AS $$
    UPDATE events SET position = position + 1000 WHERE position > 5;
    UPDATE events SET position = position - 1001 WHERE position > 1000
$$;

-- A proper event in a stream of its own at position 5, like one of later, with the hash it must have.
CREATE FUNCTION pg_temp.forge() RETURNS void LANGUAGE sql AS $$
    INSERT INTO events
    SELECT 5, '01890000-0000-7000-8000-000000000001', 'x-1', 1, type, recorded_at,
           replace(replace(body, id::text, '01890000-0000-7000-8000-000000000001'), stream, 'x-1'),
           (SELECT hash FROM events WHERE position = 4), hash
    FROM events
    WHERE stream = 'request-6' AND version = 2;
    SELECT pg_temp.rehash(5)
$$;

CREATE FUNCTION pg_temp.swap_contents() RETURNS void LANGUAGE sql AS $$
    ALTER TABLE events DROP CONSTRAINT events_id_key, DROP CONSTRAINT events_stream_version_key;
    UPDATE events e
    SET id = o.id, stream = o.stream, version = o.version, type = o.type, recorded_at = o.recorded_at, body = o.body
    FROM events o
    WHERE (e.position, o.position) IN ((3, 9), (9, 3))
$$;

--: body edited: edited at 5
UPDATE events SET body = replace(body, '1000.00', '9000.00') WHERE position = 5;

--: body edited and rehashed: edited at 5
UPDATE events SET body = replace(body, '1000.00', '9000.00') WHERE position = 5;
SELECT pg_temp.rehash(5);

--: body made no JSON: edited at 5
UPDATE events SET body = repeat('[', 100000) WHERE position = 5;

--: blank added to the body: edited at 5
UPDATE events SET body = body || ' ' WHERE position = 5;

--: version edited: edited at 5
UPDATE events SET version = 7 WHERE position = 5;

--: version at its limit: edited at 5
UPDATE events SET version = 9223372036854775807 WHERE position = 5;

--: time edited: edited at 5
UPDATE events SET recorded_at = '2001-01-01' WHERE position = 5;

--: time after all time: edited at 5
UPDATE events SET recorded_at = 'infinity' WHERE position = 5;

--: time before all time: edited at 5
UPDATE events SET recorded_at = '-infinity' WHERE position = 5;

--: hash edited: edited at 5
UPDATE events SET hash = sha256('') WHERE position = 5;

--: hash shortened: edited at 5
ALTER TABLE events DROP CONSTRAINT events_hash_check;
UPDATE events SET hash = '' WHERE position = 5;

--: prev_hash edited: edited at 5
UPDATE events SET prev_hash = sha256('') WHERE position = 5;

--: type edited: column-mismatch at 5
UPDATE events SET type = 'portfolio.approved' WHERE position = 5;

--: id edited: column-mismatch at 5
UPDATE events SET id = gen_random_uuid() WHERE position = 5;

--: stream edited: column-mismatch at 5
UPDATE events SET stream = 'request-3x' WHERE position = 5;

--: no id: column-mismatch at 5
ALTER TABLE events ALTER COLUMN id DROP NOT NULL;
UPDATE events SET id = NULL WHERE position = 5;

--: no stream: column-mismatch at 5
ALTER TABLE events ALTER COLUMN stream DROP NOT NULL;
UPDATE events SET stream = NULL WHERE position = 5;

--: no type: column-mismatch at 5
ALTER TABLE events ALTER COLUMN type DROP NOT NULL;
UPDATE events SET type = NULL WHERE position = 5;

--: no version: edited at 5
ALTER TABLE events ALTER COLUMN version DROP NOT NULL;
UPDATE events SET version = NULL WHERE position = 5;

--: no time: edited at 5
ALTER TABLE events ALTER COLUMN recorded_at DROP NOT NULL;
UPDATE events SET recorded_at = NULL WHERE position = 5;

--: no body: edited at 5
ALTER TABLE events ALTER COLUMN body DROP NOT NULL;
UPDATE events SET body = NULL WHERE position = 5;

--: no prev_hash: edited at 5
ALTER TABLE events ALTER COLUMN prev_hash DROP NOT NULL;
UPDATE events SET prev_hash = NULL WHERE position = 5;

--: no hash: edited at 5
ALTER TABLE events ALTER COLUMN hash DROP NOT NULL;
UPDATE events SET hash = NULL WHERE position = 5;

--: sealed value edited: commitment-mismatch at 5
UPDATE sealed_fields SET fields = replace(fields::text, 'client-3', 'client-4')::json WHERE position = 5;

--: sealed value and client edited alike: commitment-mismatch at 5
UPDATE sealed_fields SET fields = replace(fields::text, 'client-3', 'client-4')::json WHERE position = 5;
UPDATE stream_clients SET client_id = 'client-4' WHERE stream = 'request-3';

--: salt edited: commitment-mismatch at 5
UPDATE sealed_fields SET salts = json_build_object('client_id', repeat('0', 64), 'notes', salts->'notes')
WHERE position = 5;

--: sealed values made null: commitment-mismatch at 5
UPDATE sealed_fields SET fields = 'null' WHERE position = 5;

--: sealed value that PostgreSQL cannot read: commitment-mismatch at 5
UPDATE sealed_fields SET fields = '{"client_id":"\u0000"}' WHERE position = 5;

--: sealed values deleted: sealed-missing at 5
DELETE FROM sealed_fields WHERE position = 5;

--: one of two sealed values deleted with its salt: sealed-missing at 5
UPDATE sealed_fields
SET fields = '{"client_id":"client-3"}', salts = json_build_object('client_id', salts->'client_id')
WHERE position = 5;

--: sealed value without commitment: commitment-mismatch at 6
INSERT INTO sealed_fields VALUES (6, '{"note":"00"}', '{"note":"x"}');

--: sealed values without event: stray-sealed at 99
INSERT INTO sealed_fields VALUES (99, '{}', '{}');

--: deleted: deleted at 5
DELETE FROM events WHERE position = 5;

--: first deleted: deleted at 1
DELETE FROM events WHERE position = 1;

--: stream deleted: deleted at 5
DELETE FROM events WHERE stream = 'request-3';

--: deleted with all traces: deleted at 5
DELETE FROM events WHERE position IN (5, 6);
DELETE FROM sealed_fields WHERE position IN (5, 6);
DELETE FROM stream_clients WHERE stream = 'request-3';

--: deleted and renumbered: deleted at 5
DELETE FROM events WHERE position = 5;
SELECT pg_temp.pull();

--: replaced by another event: edited at 5
DELETE FROM events WHERE position = 5;
SELECT pg_temp.forge();

--: inserted with a recomputed hash: inserted at 5
SELECT pg_temp.push();
SELECT pg_temp.forge();

--: inserted, and the next made to name it: inserted at 5
SELECT pg_temp.push();
SELECT pg_temp.forge();
UPDATE events SET prev_hash = (SELECT hash FROM events WHERE position = 5) WHERE position = 6;

--: inserted past the head: inserted at 13
INSERT INTO events
SELECT 13, '01890000-0000-7000-8000-000000000001', stream, 3, type, recorded_at,
       replace(body, id::text, '01890000-0000-7000-8000-000000000001'), hash, hash
FROM events
WHERE position = 12;
SELECT pg_temp.rehash(13);

--: inserted where one stands: inserted at 5
ALTER TABLE events DROP CONSTRAINT events_pkey;
INSERT INTO events
SELECT position, gen_random_uuid(), 'x-1', 1, type, recorded_at, body, prev_hash, hash FROM events WHERE position = 5;

--: two neighbours swapped: reordered at 5
SELECT pg_temp.move(5, 1000), pg_temp.move(6, 5), pg_temp.move(1000, 6);

--: two rows swapped: reordered at 3
SELECT pg_temp.move(3, 1000), pg_temp.move(9, 3), pg_temp.move(1000, 9);

--: two rows swapped with their sealed values: reordered at 3
SELECT pg_temp.move(3, 1000), pg_temp.move(9, 3), pg_temp.move(1000, 9);
SELECT pg_temp.move_sealed(3, 1000), pg_temp.move_sealed(9, 3), pg_temp.move_sealed(1000, 9);

--: contents of two rows swapped: reordered at 3
SELECT pg_temp.swap_contents();

--: contents of two rows swapped and rehashed: reordered at 3
SELECT pg_temp.swap_contents();
SELECT pg_temp.rehash(3), pg_temp.rehash(9);

--: moved past the end: reordered at 5
SELECT pg_temp.move(5, 1000);

--: tail cut: truncated at 9
DELETE FROM events WHERE position > 8;

--: last cut: truncated at 12
DELETE FROM events WHERE position = 12;

--: all cut: truncated at 1
TRUNCATE events;

--: head set forward: head-mismatch at 12
UPDATE head SET position = 20;

--: head set back: head-mismatch at 12
UPDATE head SET position = 7;

--: hash of the head edited: head-mismatch at 12
UPDATE head SET hash = sha256('');

--: time of the head edited: head-mismatch at 12
UPDATE head SET recorded_at = 'infinity';

--: head removed: head-mismatch at 12
DELETE FROM head;

--: second head: head-mismatch at 12
ALTER TABLE head DROP CONSTRAINT head_pkey, DROP CONSTRAINT head_singleton_check;
INSERT INTO head SELECT false, origin, position, hash, recorded_at FROM head;

--: origin edited: genesis-mismatch at 1
UPDATE head SET origin = 'another.example';

--: stream given to another client: client-mismatch at 5
UPDATE stream_clients SET client_id = 'client-1' WHERE stream = 'request-3';

--: stream hidden from the client: client-mismatch at 5
DELETE FROM stream_clients WHERE stream = 'request-3';

--: last number set back: number-mismatch at 0
UPDATE stream_numbers SET last = 3;

--: last number set forward: number-mismatch at 0
UPDATE stream_numbers SET last = 30;
