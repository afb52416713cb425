-- The condition on events e for a client within a window of time, in microseconds since 1970, of which 0 has no
-- beginning. Of each stream of the client with an event that took place in the window: its events from the first to the
-- last one that took place before the end of the window. Likewise the streams client-N, which say who the client is, the
-- streams of the client that an event of the bundle names, and so on, until nothing is named that the bundle lacks: so
-- it can be imported. Also the agents that acted in the window, and the policies.
e.position IN (
    WITH RECURSIVE streams AS (
        SELECT c.stream FROM stream_clients c WHERE c.client_id = ANY ({clients})
    ),
    happened AS MATERIALIZED (
        SELECT w.stream, w.body
        FROM streams
        JOIN events w USING (stream)
        CROSS JOIN acted_at(w.body, w.recorded_at) AS acted (at)
        WHERE ({from_us} = 0 OR acted.at >= timestamptz 'epoch' + {from_us} * interval '1 microsecond')
          AND acted.at < timestamptz 'epoch' + {until_us} * interval '1 microsecond'
    ),
    -- A stream names no other one after its last event of the bundle.
    needed AS (
        SELECT begun.stream, ends.version
        FROM (
            SELECT stream FROM happened
            UNION
            SELECT stream FROM streams WHERE stream LIKE 'client-%'
            UNION
            {agents_and_policies}
        ) begun
        CROSS JOIN LATERAL (
            SELECT max(w.version) AS version
            FROM events w
            WHERE w.stream = begun.stream
              AND acted_at(w.body, w.recorded_at) < timestamptz 'epoch' + {until_us} * interval '1 microsecond'
        ) ends
        UNION
        SELECT named.stream, ends.version
        FROM needed n
        JOIN events w ON w.stream = n.stream AND w.version <= n.version
        CROSS JOIN LATERAL ({named}) named
        CROSS JOIN LATERAL (
            SELECT max(f.version) AS version
            FROM events f
            WHERE f.stream = named.stream
              AND acted_at(f.body, f.recorded_at) < timestamptz 'epoch' + {until_us} * interval '1 microsecond'
        ) ends
        WHERE named.stream IN (SELECT stream FROM streams)
    )
    SELECT w.position FROM needed JOIN events w ON w.stream = needed.stream AND w.version <= needed.version
)
