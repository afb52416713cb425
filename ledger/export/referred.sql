-- Select these streams and the streams that their events up to a position refer to: the earlier recommendations of the
-- same client that the model was shown, the agents that acted, and the policies. Bodies are read as text: see
-- window.sql.
WITH happened AS MATERIALIZED (
    SELECT w.stream, w.type, w.body
    FROM events w
    WHERE w.stream = ANY (%(streams)s) AND w.position <= %(last_position)s
)
SELECT stream FROM happened
UNION
SELECT s.stream
FROM happened h
CROSS JOIN LATERAL regexp_matches(h.body, '"id":"([0-9]{1,18})","kind":"recommendation"', 'g') AS shown (id)
JOIN events s ON s.position = shown.id[1]::bigint
JOIN stream_clients own ON own.stream = h.stream
JOIN stream_clients other ON other.stream = s.stream AND other.client_id = own.client_id
WHERE h.type = 'model-call.started' AND s.position <= %(last_position)s
UNION
SELECT 'agent-' || substring(h.body FROM '"id":"([^"]+)","kind":"agent"') FROM happened h
UNION
SELECT 'policy-' || name
FROM unnest(ARRAY['access', 'four-eyes', 'reason-codes', 'retention', 'signed-acts']) AS p (name)
WHERE EXISTS (SELECT FROM happened)
