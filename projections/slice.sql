-- The relation that folds read: the events in scope, with the parts of their bodies, their sealed values, and the
-- client of their stream. Sealed values and client are null once they are erased. A stream has one client for good, from
-- the event on that names it: a fold up to an earlier position has no client, also if it runs later. `commitments` to the
-- sealed values, in hex, stay. `causation` is text, so that no fold fails on a value that is not a UUID.
--
-- Sealed values and client come from subqueries, not from joins. So each row that uses them costs one look-up by
-- primary key, whatever the planner estimates, and a fold that does not use them costs nothing. The empty WITH keeps
-- PostgreSQL from merging the inner SELECT into the fold, which would parse the body once for each part that is used.
--
-- An imported event says in "backfill" who acted and when. `actor` and `occurred_at` are these; of other events they are
-- the recorded actor and time. `imported_by` is null but for imported events. A body without the text of the member is
-- not parsed for it: most folds need the time of events whose bodies they do not need.
SELECT e.position, e.id, e.stream, e.version, e.type, e.recorded_at, occurred_at(e.backfill, e.recorded_at) AS occurred_at,
       coalesce(e.backfill->'actor', e.body->'actor') AS actor, e.body->'data' AS data, e.body->'sealed' AS commitments,
       e.body->>'causation' AS causation, e.sealed, e.client_id, e.body_text,
       CASE WHEN e.backfill IS NOT NULL THEN e.body->'actor'->>'id' END AS imported_by
FROM (
    WITH kept_apart AS (SELECT)
    SELECT e.position, e.id, e.stream, e.version, e.type, e.recorded_at,
           e.body::jsonb AS body,
           CASE WHEN strpos(e.body, '"backfill":{{') > 0 THEN e.body::jsonb->'backfill' END AS backfill,
           e.body AS body_text,
           (SELECT s.fields::jsonb FROM sealed_fields s WHERE s.position = e.position) AS sealed,
           (SELECT c.client_id FROM stream_clients c WHERE c.stream = e.stream AND c.position <= %(upto)s) AS client_id
    FROM events e
    WHERE {scope}
) e
