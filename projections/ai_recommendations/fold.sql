-- One row a recommendation: what the model answered, for which request.
SELECT
    answer.stream,
    answer.position AS id,
    stream_number(answer.stream, 'request-') AS request_id,
    answer.client_id,
    (answer.sealed->'recommendation')::jsonb AS recommendation,
    data.model_name,
    data.model_version,
    data.parameters,
    answer.sealed->>'prompt' AS prompt,
    answer.actor->>'id' AS recorded_by,
    answer.recorded_at AS created_at
FROM slice answer
CROSS JOIN LATERAL json_to_record(answer.data) AS data (model_name text, model_version text, parameters jsonb)
WHERE answer.type = 'recommendation.recorded'
  AND stream_number(answer.stream, 'request-') IS NOT NULL
