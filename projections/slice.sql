-- The relation that folds read: the events in scope, the parts of their bodies, their sealed values and their stream's
-- client, the last two null once erased. A stream has one client for good, so that is not a matter of positions.
-- `commitments` are to the sealed values, in hex, and stay. `causation` is text: no fold fails on what is no uuid.
--
-- Sealed values and client come by subquery and not by join: a probe by primary key for each row that uses them,
-- whatever the planner thinks of the tables, and none where the fold does not ask. The empty WITH keeps the inner SELECT
-- from being merged into the fold, which would parse the body once for each part used of it.
SELECT e.position, e.id, e.stream, e.version, e.type, e.recorded_at,
       e.body->'actor' AS actor, e.body->'data' AS data, e.body->'sealed' AS commitments,
       e.body->>'causation' AS causation, e.sealed, e.client_id
FROM (
    WITH kept_apart AS (SELECT)
    SELECT e.position, e.id, e.stream, e.version, e.type, e.recorded_at,
           e.body::jsonb AS body,
           (SELECT s.fields::jsonb FROM sealed_fields s WHERE s.position = e.position) AS sealed,
           (SELECT c.client_id FROM stream_clients c WHERE c.stream = e.stream) AS client_id
    FROM events e
    WHERE {scope}
) e
