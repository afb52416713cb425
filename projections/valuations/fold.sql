-- One row for each valuation of a portfolio by a custodian. The last one of a day counts. IS TRUE keeps the
-- planner from the index of streams: a live step reads the new events by their positions.
SELECT
    stream,
    position AS id,
    substr(stream, length('valuation-') + 1) AS portfolio,
    whole_number(data->>'client') AS client,
    client_id,
    data->>'as_of' AS valued_on,
    data->>'source' AS source,
    data->>'currency' AS currency,
    sealed->'values' AS amounts,
    actor->>'id' AS recorded_by,
    recorded_at AS created_at
FROM slice
WHERE type = 'valuation.recorded' AND (starts_with(stream, 'valuation-') AND stream <> 'valuation-') IS TRUE
