-- A page of events that match and have some words, whose ids the relation put in first has. Its columns are those of event_search.sql.
SELECT model.id AS position, model.created_at AS recorded_at, model.type, model.stream, model.version,
       (SELECT c.client_id FROM stream_clients c WHERE c.stream = model.stream AND c.position <= %(upto)s) AS client_id,
       model.request_id, model.actor, model.actor_kind, model.role, model.model, model.outcome, model.amount_usd,
       CASE WHEN model.imported_by IS NOT NULL THEN model.occurred_at END AS occurred_at, model.imported_by
FROM ({}) f
JOIN event_index model USING (id)
WHERE {}
ORDER BY {}
LIMIT %(limit)s
