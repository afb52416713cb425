-- Deletes the sealed values of one client, and its streams from the index of clients, together with the events that say so:
-- the only way to delete a value. One event is client.erased, in the stream of the client; it names the event that requested
-- the erasure, which another subject recorded; or it says which erasure of two subjects it does again, after a restore. Each other stream of the client gets values.erased. Nothing follows in these
-- streams (AL013).
--
-- The parameters are those of append() without sealed values, and
--   seen   the position as of which the caller knew the streams of the client and its other identifiers
-- Returns what append() returns, and "gone": of how many events values were deleted. If all events are replays, it is 0.
--
-- Raises what append() raises; also AL001 for other events, or a request by the same subject; AL003 if an event after "seen"
-- gave the client another stream or identifier, so that the caller has to look again.
--
-- Lock: the row of head, to the end of the caller's transaction, which folds the read models again before it commits: nobody
-- sees events without their effect, and a crash leaves nothing of it. Appends wait meanwhile.
CREATE OR REPLACE FUNCTION erase(
    heads text[], ids uuid[], streams text[], types text[], schemas integer[], expected text[], preconditions text[], sent_us bigint,
    recorder bytea, session bytea, serial bigint, signature bytea, digests bytea, seen bigint,
    OUT before bigint, OUT positions bigint[], OUT names text[], OUT versions bigint[], OUT times timestamptz[], OUT hashes bytea[],
    OUT gone bigint
)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    act jsonb;
BEGIN
    PERFORM FROM head FOR UPDATE;
    gone := 0;
    IF NOT types <@ ARRAY['client.erased', 'values.erased'] OR cardinality(array_positions(types, 'client.erased')) <> 1
       OR (SELECT count(DISTINCT s.stream) FROM unnest(streams) AS s (stream)) <> cardinality(streams)
    THEN
        PERFORM refuse_append('AL001', 'an erasure is one event client.erased, and one event values.erased for each other stream');
    END IF;
    act := (heads[array_position(types, 'client.erased')] || '}')::jsonb;
    IF NOT EXISTS (
        SELECT FROM events e
        WHERE e.position = (act->'data'->>'erasure_id')::bigint
          AND e.type = 'erasure.requested' AND e.stream = streams[array_position(types, 'client.erased')]
          AND (e.body::jsonb->'actor'->>'id' <> act->'actor'->>'id'
               OR act->'data'->'reapplies'->>'requested_by' <> act->'data'->'reapplies'->>'erased_by')
    )
    THEN
        PERFORM refuse_append('AL001', 'another subject has to request an erasure, in the stream of the client');
    END IF;

    SELECT a.* INTO before, positions, names, versions, times, hashes
    FROM append(heads, ids, streams, types, schemas, expected, preconditions, NULL, NULL, NULL, NULL, sent_us, NULL,
                recorder, session, serial, signature, digests) a;
    IF positions[1] <= before THEN
        RETURN;
    END IF;
    IF EXISTS (
           SELECT FROM events e
           WHERE e.position > seen AND e.position <= before
             AND (e.type IN ('client.aliased', 'client.merged')
                  OR EXISTS (SELECT FROM stream_clients c JOIN stream_clients d ON d.client_id = c.client_id
                             WHERE c.stream = e.stream AND d.stream = ANY (streams) AND c.stream <> ALL (streams)))
       )
    THEN
        PERFORM refuse_append('AL003', 'the client has another stream or identifier since');
    END IF;
    INSERT INTO erased_streams (stream, position)
    SELECT s.stream, s.position FROM unnest(streams, positions) AS s (stream, position);
    DELETE FROM sealed_fields s
    WHERE s.position IN (SELECT e.position FROM events e WHERE e.stream = ANY (streams) AND e.position <= before);
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM stream_clients c WHERE c.stream = ANY (streams);
END
$$;
