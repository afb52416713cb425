-- A page of events that match and have these words, where few events have them: all of these first, by the index of words.
-- Its columns are those of event_search.sql.
WITH found AS MATERIALIZED (
    SELECT t.id
    FROM event_texts t
    WHERE t.words @@ search_query(%(text)s) AND t.id >= %(from_id)s AND t.id < %(before_id)s
)
SELECT model.id AS position, model.created_at AS recorded_at, model.type, model.stream, model.version,
       (SELECT c.client_id FROM stream_clients c WHERE c.stream = model.stream AND c.position <= %(upto)s) AS client_id,
       model.request_id, model.actor, model.actor_kind, model.role, model.model, model.outcome, model.amount_usd,
       model.occurred_at, model.imported_by
FROM (SELECT id FROM found ORDER BY id {}) f
JOIN event_index model USING (id)
WHERE {}
ORDER BY f.id {}
LIMIT %(limit)s
