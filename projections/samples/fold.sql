-- One row for each sample. Its items stand in the streams of the requests, and have a read model of their own.
SELECT
    stream,
    stream_number(stream, 'sample-') AS id,
    position,
    data->>'decided_from' AS decided_from,
    data->>'decided_to' AS decided_to,
    data->>'agent' AS agent,
    data->>'decided_by' AS decided_by,
    data->>'outcome' AS outcome,
    CASE WHEN data ? 'overridden' THEN truth_value(data->>'overridden') END AS overridden,
    money(data->>'amount_from')::numeric(14, 2) AS amount_from,
    money(data->>'amount_to')::numeric(14, 2) AS amount_to,
    CASE WHEN data ? 'unreviewed' THEN truth_value(data->>'unreviewed') END AS unreviewed,
    whole_number(data->>'size') AS size,
    data->'weights' AS weights,
    data->'reviewers' AS reviewers,
    data->>'due_at' AS due_at,
    data->>'method' AS method,
    data->>'seed' AS seed,
    data->>'seed_from' AS seed_from,
    whole_number(data->>'upto') AS upto,
    whole_number(data->>'population') AS population,
    data->>'population_digest' AS population_digest,
    data->'chosen' AS chosen,
    actor->>'id' AS drawn_by,
    occurred_at AS created_at
FROM slice
WHERE type = 'sample.drawn' AND version = 1 AND stream_number(stream, 'sample-') IS NOT NULL
