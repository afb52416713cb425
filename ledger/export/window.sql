-- The condition on events e for a client within a window of time, in microseconds since 1970, of which 0 has no beginning: of each
-- stream of the client with an event that took place in the window, the events from its first to its last one that took place
-- before the end of the window; and likewise of the earlier recommendations that the model was shown, of the agents that acted
-- and of the policies. Also of the streams client-N, which say who the client is, and of the requests that these streams and
-- those of the window name: so the bundle can be imported. Bodies are read as text, as somebody may have changed them: members
-- of canonical JSON stand in one order.
e.position IN (
    WITH streams AS (
        SELECT c.stream FROM stream_clients c WHERE c.client_id = ANY ({clients})
    ),
    happened AS MATERIALIZED (
        SELECT w.stream, w.type, w.body
        FROM streams
        JOIN events w USING (stream)
        CROSS JOIN acted_at(w.body, w.recorded_at) AS acted (at)
        WHERE ({from_us} = 0 OR acted.at >= timestamptz 'epoch' + {from_us} * interval '1 microsecond')
          AND acted.at < timestamptz 'epoch' + {until_us} * interval '1 microsecond'
    ),
    needed AS MATERIALIZED (
        SELECT stream FROM happened
        UNION
        SELECT s.stream
        FROM happened h
        CROSS JOIN LATERAL regexp_matches(h.body, '"id":"([0-9]{{1,18}})","kind":"recommendation"', 'g') AS shown (id)
        JOIN events s ON s.position = shown.id[1]::bigint
        WHERE h.type = 'model-call.started' AND s.stream IN (SELECT stream FROM streams)
        UNION
        SELECT stream FROM streams WHERE stream LIKE 'client-%'
        UNION
        SELECT 'request-' || named.number[1]
        FROM (
            SELECT body FROM happened WHERE type = 'request.withdrawn'
            UNION ALL
            SELECT w.body
            FROM streams
            JOIN events w USING (stream)
            WHERE stream LIKE 'client-%' AND w.type = 'legal-hold.placed'
        ) n
        CROSS JOIN LATERAL regexp_matches(n.body, '"(?:replaced_by|request_id)":([0-9]{{1,18}})') AS named (number)
        WHERE 'request-' || named.number[1] IN (SELECT stream FROM streams)
        UNION
        SELECT 'agent-' || substring(h.body FROM '"id":"([^"]+)","kind":"agent"') FROM happened h
        UNION
        SELECT 'policy-' || name
        FROM unnest(ARRAY['access', 'four-eyes', 'reason-codes', 'retention', 'signed-acts']) AS p (name)
        WHERE EXISTS (SELECT FROM happened)
    ),
    ends AS MATERIALIZED (
        SELECT w.stream, max(w.version) AS version
        FROM needed
        JOIN events w USING (stream)
        WHERE acted_at(w.body, w.recorded_at) < timestamptz 'epoch' + {until_us} * interval '1 microsecond'
        GROUP BY w.stream
    )
    SELECT w.position FROM ends JOIN events w ON w.stream = ends.stream AND w.version <= ends.version
)
