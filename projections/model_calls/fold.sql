-- One row for each model call: what was recorded before it was made, and how it ended. The messages are not copied:
-- they are sealed, may be megabytes, and are read by position when a caller asks for one call.
--
-- The event that ends a call, and the recommendation made from it, come after it in the same stream and name it. The
-- first of each counts.
WITH recorded AS MATERIALIZED (
    SELECT stream, position, id::text AS event_id, type, occurred_at, actor->>'id' AS actor_id, data, causation,
           client_id
    FROM slice
    WHERE type IN ('model-call.started', 'model-call.completed', 'model-call.failed', 'model-call.content-recorded')
       -- Most recommendations of other agents name no call: their bodies are not parsed.
       OR type = 'recommendation.recorded' AND strpos(body_text, '"model_call_id"') > 0
),
ended AS (
    SELECT DISTINCT ON (s.position) s.position AS call_id, e.position, e.type, e.occurred_at, e.data
    FROM recorded s
    JOIN recorded e ON e.stream = s.stream AND e.causation = s.event_id AND e.position > s.position
    WHERE s.type = 'model-call.started' AND e.type IN ('model-call.completed', 'model-call.failed')
    ORDER BY s.position, e.position
),
content AS (
    SELECT s.position AS call_id, array_agg(c.position ORDER BY c.position) AS positions
    FROM recorded s
    JOIN recorded c ON c.stream = s.stream AND c.causation = s.event_id AND c.position > s.position
    WHERE s.type = 'model-call.started' AND c.type = 'model-call.content-recorded'
    GROUP BY 1
),
answered AS (
    SELECT stream, whole_number(data->>'model_call_id') AS call_id, min(position) AS position
    FROM recorded
    WHERE type = 'recommendation.recorded' AND whole_number(data->>'model_call_id') < position
      AND stream_number(stream, 'request-') IS NOT NULL
    GROUP BY 1, 2
)
SELECT
    call.stream,
    call.position AS id,
    stream_number(call.stream, 'request-') AS request_id,
    call.client_id,
    CASE ended.type WHEN 'model-call.completed' THEN 'completed' WHEN 'model-call.failed' THEN 'failed' ELSE 'open'
    END AS state,
    call.actor_id AS agent,
    call.data->>'operation_name' AS operation_name,
    call.data->>'provider_name' AS provider_name,
    call.data->>'request_model' AS request_model,
    call.data->'request_parameters' AS request_parameters,
    call.data->>'agent_version' AS agent_version,
    call.data->>'prompt_name' AS prompt_name,
    call.data->>'prompt_version' AS prompt_version,
    call.data->>'prompt_sha256' AS prompt_sha256,
    call.data->>'tool_definitions_sha256' AS tool_definitions_sha256,
    call.data->'shown' AS shown,
    whole_number(call.data->>'as_of') AS as_of,
    call.data->>'capture' AS capture,
    call.data->>'mapper_version' AS mapper_version,
    call.data->>'trace_id' AS trace_id,
    call.data->>'span_id' AS span_id,
    call.data->>'claimed_start' AS claimed_start,
    call.occurred_at AS created_at,
    ended.position AS ended_position,
    ended.occurred_at AS ended_at,
    whole_number(ended.data->>'latency_ms') AS latency_ms,
    ended.data->>'response_id' AS response_id,
    ended.data->>'response_model' AS response_model,
    ended.data->'response_finish_reasons' AS response_finish_reasons,
    whole_number(ended.data->>'usage_input_tokens') AS usage_input_tokens,
    whole_number(ended.data->>'usage_output_tokens') AS usage_output_tokens,
    whole_number(ended.data->>'usage_cache_read_input_tokens') AS usage_cache_read_input_tokens,
    whole_number(ended.data->>'usage_cache_write_input_tokens') AS usage_cache_write_input_tokens,
    whole_number(ended.data->>'usage_reasoning_output_tokens') AS usage_reasoning_output_tokens,
    whole_number(ended.data->>'time_to_first_chunk_ms') AS time_to_first_chunk_ms,
    ended.data->>'error_type' AS error_type,
    answered.position AS recommendation_id,
    content.positions AS content_positions
FROM recorded call
LEFT JOIN ended ON ended.call_id = call.position
LEFT JOIN content ON content.call_id = call.position
LEFT JOIN answered ON answered.stream = call.stream AND answered.call_id = call.position
WHERE call.type = 'model-call.started'
