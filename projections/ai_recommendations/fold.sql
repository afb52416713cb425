-- One row for each recommendation: what the model answered, for which request, and what people did with it.
--
-- An act on a recommendation is an event after it in the same stream that names it by id. Other events are ignored.
WITH acts AS MATERIALIZED (
    SELECT stream, position, type, recorded_at, actor->>'id' AS actor_id, data, sealed, commitments,
           whole_number(data->>'recommendation_id') AS recommendation_id
    FROM slice
    WHERE type IN ('recommendation.opened', 'recommendation.decided', 'recommendation.confirmed',
                   'recommendation.communicated')
),
-- Decisions, each with its first confirmation if it needs one. Later confirmations do not count.
decided AS MATERIALIZED (
    SELECT DISTINCT ON (d.position) d.*, c.actor_id AS confirmed_by, c.recorded_at AS confirmed_at,
           CASE WHEN NOT truth_value(d.data->>'needs_second') THEN 'effective'
                WHEN c.position IS NULL THEN 'waiting'
                WHEN c.data->>'outcome' = 'approve' THEN 'effective'
                ELSE 'declined' END AS state
    FROM acts d
    LEFT JOIN acts c ON c.type = 'recommendation.confirmed' AND c.stream = d.stream
        AND whole_number(c.data->>'decision_id') = d.position AND c.recommendation_id = d.recommendation_id
        AND c.position > d.position AND truth_value(d.data->>'needs_second')
    WHERE d.type = 'recommendation.decided' AND d.recommendation_id < d.position
    ORDER BY d.position, c.position
)
SELECT
    answer.stream,
    answer.position AS id,
    stream_number(answer.stream, 'request-') AS request_id,
    answer.client_id,
    CASE WHEN next.position IS NOT NULL THEN 'superseded'
         WHEN communicated.position IS NOT NULL THEN 'communicated'
         WHEN decision.position IS NULL THEN 'proposed'
         WHEN decision.state = 'waiting' THEN 'waiting'
         ELSE CASE decision.data->>'outcome' WHEN 'approve' THEN 'approved' WHEN 'edit' THEN 'edited'
                  WHEN 'reject' THEN 'rejected' ELSE 'returned' END
    END AS state,
    coalesce(CASE WHEN decision.state = 'effective' AND decision.data->>'outcome' = 'edit'
                  THEN decision.commitments->>'replacement' END,
             answer.commitments->>'recommendation') AS digest,
    answer.sealed->'recommendation' AS recommendation,
    answer.data->>'model_name' AS model_name,
    answer.data->>'model_version' AS model_version,
    answer.data->'parameters' AS parameters,
    answer.sealed->>'prompt' AS prompt,
    whole_number(answer.data->>'model_call_id') AS model_call_id,
    whole_number(answer.data->>'supersedes') AS supersedes,
    next.position AS superseded_by,
    opened.recorded_at AS opened_at,
    opened.actor_id AS opened_by,
    decision.position AS decision_id,
    decision.data->>'outcome' AS outcome,
    decision.actor_id AS decided_by,
    decision.recorded_at AS decided_at,
    decision.data->>'reason_code' AS reason_code,
    decision.data->>'reason_group' AS reason_group,
    decision.sealed->>'rationale' AS rationale,
    decision.sealed->'replacement' AS replacement,
    decision.commitments->>'replacement' AS replacement_digest,
    decision.sealed->>'response' AS response,
    truth_value(decision.data->>'needs_second') AS needs_second,
    decision.confirmed_by,
    decision.confirmed_at,
    communicated.recorded_at AS communicated_at,
    communicated.actor_id AS communicated_by,
    communicated.data->>'channel' AS channel,
    communicated.sealed->>'message' AS message,
    communicated.data->>'digest' AS communicated_digest,
    answer.actor->>'id' AS agent,
    answer.recorded_at AS created_at,
    greatest(answer.recorded_at, opened.recorded_at, latest.decided_at, latest.confirmed_at,
             communicated.recorded_at, next.recorded_at) AS updated_at
FROM slice answer
-- The next recommendation of the stream. This is a separate scan that reads no body: sorting `answer` would carry the
-- wide answers along.
LEFT JOIN (
    SELECT lag(position) OVER of_stream AS previous, position, recorded_at
    FROM slice
    WHERE type = 'recommendation.recorded'
    WINDOW of_stream AS (PARTITION BY stream ORDER BY position)
) next ON next.previous = answer.position
LEFT JOIN (
    SELECT DISTINCT ON (stream, recommendation_id) *
    FROM acts
    WHERE type = 'recommendation.opened' AND recommendation_id < position
    ORDER BY stream, recommendation_id, position
) opened ON opened.stream = answer.stream AND opened.recommendation_id = answer.position
LEFT JOIN (
    SELECT DISTINCT ON (stream, recommendation_id) *
    FROM decided
    WHERE state <> 'declined'
    ORDER BY stream, recommendation_id, position DESC
) decision ON decision.stream = answer.stream AND decision.recommendation_id = answer.position
LEFT JOIN (
    SELECT stream, recommendation_id, max(recorded_at) AS decided_at, max(confirmed_at) AS confirmed_at
    FROM decided
    GROUP BY stream, recommendation_id
) latest ON latest.stream = answer.stream AND latest.recommendation_id = answer.position
LEFT JOIN (
    SELECT DISTINCT ON (stream, recommendation_id) *
    FROM acts
    WHERE type = 'recommendation.communicated' AND recommendation_id < position
    ORDER BY stream, recommendation_id, position
) communicated ON communicated.stream = answer.stream AND communicated.recommendation_id = answer.position
WHERE answer.type = 'recommendation.recorded'
  AND stream_number(answer.stream, 'request-') IS NOT NULL
