-- One row for each record of a flow. The last one with the same reference counts: each other one names the record that
-- replaced it, unless the references were erased.
WITH records AS MATERIALIZED (
    SELECT stream, position, recorded_at, actor->>'id' AS by, data, client_id,
           sealed->>'reference' AS reference, sealed->>'amount' AS amount
    FROM slice
    WHERE type = 'flow.recorded' AND starts_with(stream, 'flows-') AND stream <> 'flows-'
)
SELECT
    stream,
    position AS id,
    substr(stream, length('flows-') + 1) AS portfolio,
    whole_number(data->>'client') AS client,
    client_id,
    reference,
    data->>'date' AS date,
    data->>'kind' AS kind,
    amount,
    data->>'currency' AS currency,
    coalesce(truth_value(data->>'withdrawn'), false) AS withdrawn,
    data->>'source' AS source,
    CASE WHEN reference IS NOT NULL
         THEN lead(position) OVER (PARTITION BY stream, reference ORDER BY position) END AS replaced_by,
    by AS recorded_by,
    recorded_at AS created_at
FROM records
