-- A page of events that match. The client is that of the event's stream: null once it is erased.
SELECT model.id AS position, model.created_at AS recorded_at, model.type, model.stream, model.version,
       (SELECT c.client_id FROM stream_clients c WHERE c.stream = model.stream AND c.position <= %(upto)s) AS client_id,
       model.request_id, model.actor, model.actor_kind, model.role, model.model, model.outcome, model.amount_usd,
       CASE WHEN model.imported_by IS NOT NULL THEN model.occurred_at END AS occurred_at, model.imported_by
FROM event_index model
WHERE {}
ORDER BY {}
LIMIT %(limit)s
