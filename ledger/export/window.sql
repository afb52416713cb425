-- The condition on events e for a client within a window of time, in microseconds since 1970: of each stream of the client
-- that has an event in the window, the events from its first to the end of the window; and likewise of the earlier
-- recommendations that the model was shown, of the agents that acted and of the policies. If the client has several
-- identifiers, also the streams client-N, which say so. Bodies are read as text, as
-- somebody may have changed them: members of canonical JSON stand in one order.
e.recorded_at < timestamptz 'epoch' + {until_us} * interval '1 microsecond'
AND e.stream IN (
    WITH streams AS (
        SELECT c.stream FROM stream_clients c WHERE c.client_id = ANY ({clients})
    ),
    happened AS MATERIALIZED (
        SELECT w.stream, w.type, w.body
        FROM streams
        JOIN events w USING (stream)
        WHERE w.recorded_at >= timestamptz 'epoch' + {from_us} * interval '1 microsecond'
          AND w.recorded_at < timestamptz 'epoch' + {until_us} * interval '1 microsecond'
    )
    SELECT stream FROM happened
    UNION
    SELECT s.stream
    FROM happened h
    CROSS JOIN LATERAL regexp_matches(h.body, '"id":"([0-9]{{1,18}})","kind":"recommendation"', 'g') AS shown (id)
    JOIN events s ON s.position = shown.id[1]::bigint
    WHERE h.type = 'model-call.started' AND s.stream IN (SELECT stream FROM streams)
    UNION
    SELECT stream FROM streams WHERE stream LIKE 'client-%' AND cardinality({clients}::text[]) > 1
    UNION
    SELECT 'agent-' || substring(h.body FROM '"id":"([^"]+)","kind":"agent"') FROM happened h
    UNION
    SELECT 'policy-' || name
    FROM unnest(ARRAY['access', 'four-eyes', 'reason-codes', 'retention', 'signed-acts']) AS p (name)
    WHERE EXISTS (SELECT FROM happened)
)
