-- Select all identifiers of the client with this identifier: its aliases, the clients that it was merged with, and so
-- on from these. Read the events of the streams client-N, because read models may lag; in each stream the first link
-- counts. Bodies are read as text, because somebody may have changed them. UNION ends a cycle, which no command can
-- make.
WITH RECURSIVE linked AS MATERIALIZED (
    SELECT c.stream, 'client-' || link.number AS target
    FROM stream_clients c
    JOIN LATERAL (
        SELECT substring(e.body FROM '"data":\{"(?:into|of)":([1-9][0-9]{0,17})\}') AS number
        FROM events e
        WHERE e.stream = c.stream AND e.type IN ('client.aliased', 'client.merged')
        ORDER BY e.version
        LIMIT 1
    ) link ON link.number IS NOT NULL
    WHERE c.stream LIKE 'client-%%'
),
up AS (
    SELECT c.stream FROM stream_clients c WHERE c.client_id = %(client_id)s AND c.stream LIKE 'client-%%'
    UNION
    SELECT linked.target FROM up JOIN linked ON linked.stream = up.stream
),
same AS (
    SELECT stream FROM up
    UNION
    SELECT linked.stream FROM same JOIN linked ON linked.target = same.stream
)
SELECT DISTINCT c.client_id
FROM same
JOIN stream_clients c ON c.stream = same.stream
WHERE c.client_id <> %(client_id)s
