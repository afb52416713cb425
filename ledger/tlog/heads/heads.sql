-- Copy the leaves of the tree of stream heads as of a position, in order of their keys: for each stream its last
-- version, and for each client the last versions of all its streams (docs/formats/bundle.md, section 11). Versions
-- have no gaps, so the last version at that time is the present one minus the number of events since then. The index
-- of stream and version is enough. A stream belongs to its client from the first event on that commits to a client:
-- the stream of a trace may get one later. Values are canonical JSON: to_json() escapes a string as RFC 8785 does.
COPY (
    WITH since AS (
        SELECT e.stream, count(*) AS events FROM events e WHERE e.position > {as_of} GROUP BY e.stream
    ), later AS (
        SELECT s.stream
        FROM since s
        JOIN stream_clients c ON c.stream = s.stream
        WHERE NOT EXISTS (
            SELECT FROM events e
            WHERE e.stream = s.stream AND e.position <= {as_of}
              AND e.body ~ '"sealed":\{{[^}}]*"client_id":"[0-9a-f]{{64}}"'
        )
    ), heads AS (
        SELECT e.stream,
               format('[%s,%s]', to_json(e.stream), max(e.version) - coalesce(max(s.events), 0)) AS head
        FROM events e
        LEFT JOIN since s ON s.stream = e.stream
        GROUP BY e.stream
        HAVING max(e.version) > coalesce(max(s.events), 0)
    )
    SELECT sha256(convert_to(E'advice-ledger/heads/v1\nstream\n' || h.stream, 'UTF8')) AS key,
           '[' || h.head || ']' AS value
    FROM heads h
    UNION ALL
    SELECT sha256(convert_to(E'advice-ledger/heads/v1\nclient\n' || c.client_id, 'UTF8')),
           '[' || string_agg(h.head, ',' ORDER BY h.stream COLLATE "C") || ']'
    FROM heads h
    JOIN stream_clients c ON c.stream = h.stream
    WHERE h.stream NOT IN (SELECT l.stream FROM later l)
    GROUP BY c.client_id
    ORDER BY key
) TO STDOUT (FORMAT BINARY)
