-- Select these streams and the streams of the same client that their events up to a position name, and so on, until
-- nothing is named that is not selected: earlier recommendations and requests that the model was shown, and requests
-- that replaced a withdrawn one or are held. Also the agents that acted, and the policies; not the streams client-N.
-- Bodies are read as text: see window.sql.
WITH RECURSIVE needed AS (
    SELECT stream FROM unnest(%(streams)s::text[]) AS found (stream)
    UNION
    SELECT named.stream
    FROM needed n
    JOIN events w ON w.stream = n.stream AND w.position <= %(last_position)s
    CROSS JOIN LATERAL (
        SELECT s.stream
        FROM regexp_matches(w.body, '"id":"([0-9]{1,18})","kind":"(?:recommendation|decision)"', 'g') AS shown (id)
        JOIN events s ON s.position = shown.id[1]::bigint
        WHERE w.type = 'model-call.started' AND s.position <= %(last_position)s
        UNION ALL
        SELECT 'request-' || shown.id[1]
        FROM regexp_matches(w.body, '"id":"([0-9]{1,18})","kind":"request"', 'g') AS shown (id)
        WHERE w.type = 'model-call.started'
        UNION ALL
        SELECT 'request-' || number[1]
        FROM regexp_matches(w.body, '"(?:replaced_by|request_id)":([0-9]{1,18})') AS number
        WHERE w.type IN ('request.withdrawn', 'legal-hold.placed')
    ) named
    JOIN stream_clients other ON other.stream = named.stream
    JOIN stream_clients own ON own.stream = n.stream AND own.client_id = other.client_id
),
happened AS MATERIALIZED (
    SELECT w.stream, w.body
    FROM needed
    JOIN events w USING (stream)
    WHERE w.position <= %(last_position)s
)
SELECT stream FROM happened
UNION
SELECT 'agent-' || substring(h.body FROM '"id":"([^"]+)","kind":"agent"') FROM happened h
UNION
SELECT 'policy-' || name
FROM unnest(ARRAY['access', 'four-eyes', 'reason-codes', 'retention', 'signed-acts']) AS p (name)
WHERE EXISTS (SELECT FROM happened)
