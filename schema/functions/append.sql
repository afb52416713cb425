-- Records a batch of events. The only way to record an event.
--
-- Of each event, in the order of the batch:
--   heads          canonical JSON of its body, up to the end of "data", without the last brace
--   ids, streams, types, schemas    these members of its body. A stream whose name ends in "-" is a new stream: it gets
--                  the next number of its category, also in the body
--   expected       "any" | "no_stream" | "stream_exists" | version
--   preconditions  JSON {stream: version}, versions that other streams must have; or null
-- Of each sealed value, by event and name:
--   sealed_lines   the number of its event in the batch, from 1
--   sealed_names, sealed_salts, sealed_values    its field, 32 bytes, canonical JSON
-- sent_us is the application's time in microseconds since 1970, or null.
-- signatures has the member "signature" of each body as canonical JSON, or null; the whole array may be null.
-- Of the attestation (docs/formats/recording.md), which is stored if anything is new, or null:
--   recorder, session, serial, signature    the public key, what it signed, and the signature
--   digests        of each event, 32 bytes each
-- The rest of each body is made here, so columns and body agree and commitments open.
--
-- Returns an array entry for each event; "times" has a single one if no event is a replay. An id that is already recorded
-- with the same content is a replay: its original row is returned and nothing is written; its position is at most
-- "before". All events are recorded, or none.
--
-- Raises, with DETAIL {"line", "id", "stream", …} as JSON:
--   AL001 malformed event   AL002 id recorded with other content
--   AL003 the stream, or the stream of a precondition, is not at the expected version
--   AL004 malformed sealed value   AL005 stream belongs to another client
--   AL007 the clock is ahead, see clock_is_ahead()   AL008 the number of a stream is too high, see record_numbers()
--   AL009 type and version are not in event_types   AL010 the signer refused this database, see stop_appends()
--   AL011 the ledger has recording keys, and none of them attests the batch, see check_recorder()
--   AL012 the identifier of the client is registered already, see record_sealed()
--   AL013 the stream, or the client that the event names, is erased, see erase()
--
-- Lock: the row of head, from the first statement to the end of the caller's transaction. Positions are assigned and
-- committed under it, so a reader that sees position n sees 1..n. A crash before the commit leaves nothing.
CREATE OR REPLACE FUNCTION append(
    heads text[], ids uuid[], streams text[], types text[], schemas integer[], expected text[], preconditions text[],
    sealed_lines integer[], sealed_names text[], sealed_salts bytea[], sealed_values text[], sent_us bigint,
    signatures text[], recorder bytea, session bytea, serial bigint, signature bytea, digests bytea,
    OUT before bigint, OUT positions bigint[], OUT names text[], OUT versions bigint[], OUT times timestamptz[], OUT hashes bytea[]
)
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
#variable_conflict use_variable
DECLARE
    tip head;
    at  timestamptz;
    one record;
BEGIN
    -- An acknowledged event must survive a crash, also if the server defaults to asynchronous commits.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    SELECT * INTO STRICT tip FROM head FOR UPDATE;
    IF tip.stopped IS NOT NULL THEN
        PERFORM refuse_append('AL010', tip.stopped);
    END IF;
    at := greatest(clock_timestamp(), tip.recorded_at);
    IF cardinality(ids) = 1 THEN
        SELECT * INTO one FROM append_one(
            tip.position, tip.hash, tip.recorded_at, at, heads[1], ids[1], streams[1], types[1], schemas[1], expected[1], preconditions[1],
            sealed_lines, sealed_names, sealed_salts, sealed_values, sent_us, signatures[1], recorder, session, serial, signature);
        IF one.position IS NOT NULL THEN
            before := tip.position;
            positions := ARRAY[one.position];
            names := ARRAY[one.name];
            versions := ARRAY[one.version];
            times := ARRAY[at];
            hashes := ARRAY[one.hash];
            RETURN;
        END IF;
    END IF;
    SELECT m.before, m.positions, m.names, m.versions, m.times, m.hashes
    INTO STRICT before, positions, names, versions, times, hashes
    FROM append_many(
        tip.position, tip.hash, tip.recorded_at, at, heads, ids, streams, types, schemas, expected, preconditions, sealed_lines, sealed_names, sealed_salts,
        sealed_values, sent_us, signatures, recorder, session, serial, signature, digests) m;
END
$$;
