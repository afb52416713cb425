-- One row a recommendation: what the model answered, for which request.
SELECT
    answer.stream,
    answer.position AS id,
    stream_number(answer.stream, 'request-') AS request_id,
    answer.client_id,
    answer.sealed->'recommendation' AS recommendation,
    answer.data->>'model_name' AS model_name,
    answer.data->>'model_version' AS model_version,
    answer.data->'parameters' AS parameters,
    answer.sealed->>'prompt' AS prompt,
    answer.actor->>'id' AS recorded_by,
    answer.recorded_at AS created_at
FROM slice answer
WHERE answer.type = 'recommendation.recorded'
  AND stream_number(answer.stream, 'request-') IS NOT NULL
