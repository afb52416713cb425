-- Select these streams and the streams of the same client that their events up to a position name, and so on, until
-- nothing is named that is not selected: earlier recommendations and requests that the model was shown, and requests
-- that replaced a withdrawn one or are held. Also the agents that acted, and the policies; not the streams client-N.
WITH RECURSIVE needed AS (
    SELECT stream FROM unnest(%(streams)s::text[]) AS found (stream)
    UNION
    SELECT named.stream
    FROM needed n
    JOIN events w ON w.stream = n.stream AND w.position <= %(last_position)s
    CROSS JOIN LATERAL ({named}) named
    JOIN stream_clients other ON other.stream = named.stream
    JOIN stream_clients own ON own.stream = n.stream AND own.client_id = other.client_id
    WHERE named.position <= %(last_position)s
),
happened AS MATERIALIZED (
    SELECT w.stream, w.body
    FROM needed
    JOIN events w USING (stream)
    WHERE w.position <= %(last_position)s
)
SELECT stream FROM happened
UNION
{agents_and_policies}
