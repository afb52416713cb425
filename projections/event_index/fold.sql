-- One row for each event: what a search asks for. Nothing personal is in it, and no value that could
-- fail to fold. The client of a stream is in stream_clients.
SELECT
    stream,
    position AS id,
    version,
    type,
    left(actor->>'id', 200) AS actor,
    left(actor->>'kind', 200) AS actor_kind,
    left(actor->>'role', 200) AS role,
    stream_number(stream, 'request-') AS request_id,
    left(coalesce(data->>'model_name', data->>'request_model'), 200) AS model,
    left(data->>'outcome', 200) AS outcome,
    money(data->>'amount_usd') AS amount_usd,
    recorded_at AS created_at,
    CASE WHEN imported_by IS NOT NULL THEN occurred_at ELSE recorded_at END AS occurred_at,
    left(imported_by, 200) AS imported_by
FROM slice
