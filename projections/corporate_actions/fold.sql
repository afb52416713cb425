-- One row for each record of a corporate action. The last one about an asset, day and kind of action counts: each other
-- one names the record that replaced it.
SELECT
    stream,
    position AS id,
    data->>'asset' AS asset,
    data->>'date' AS date,
    data->>'action' AS action,
    data->>'ratio' AS ratio,
    data->>'to' AS becomes,
    data->>'price' AS price,
    data->>'currency' AS currency,
    coalesce(truth_value(data->>'withdrawn'), false) AS withdrawn,
    data->>'source' AS source,
    lead(position) OVER (
        PARTITION BY stream, data->>'asset', data->>'date', data->>'action' ORDER BY position) AS replaced_by,
    actor->>'id' AS recorded_by,
    recorded_at AS created_at
FROM slice
WHERE type = 'corporate-action.recorded' AND stream = 'corporate-actions'
