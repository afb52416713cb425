-- One row for each recommendation: what the model answered, for which request, and what people did with it.
--
-- An act on a recommendation is an event after it in the same stream that names it by id; a withdrawal of the request is
-- about the recommendation before it. Other events are ignored.
WITH acts AS MATERIALIZED (
    SELECT stream, position, type, occurred_at, actor->>'id' AS actor_id, data, sealed, commitments,
           whole_number(data->>'recommendation_id') AS recommendation_id
    FROM slice
    WHERE type IN ('recommendation.opened', 'recommendation.decided', 'recommendation.confirmed',
                   'recommendation.communicated', 'decision.withdrawn', 'decision.revoked', 'decision.expired',
                   'request.withdrawn')
),
-- Decisions, each with what settled it if it needs a confirmation: the first of its confirmations, its withdrawal, its
-- expiry, and the withdrawal of the request. Later ones do not count.
settled AS MATERIALIZED (
    SELECT DISTINCT ON (d.position) d.*, c.position AS settled_at, c.type AS settled_by, c.actor_id AS settler,
           c.occurred_at AS settled_time, c.sealed AS settled_sealed, c.data->>'outcome' AS confirmation
    FROM acts d
    LEFT JOIN acts c ON c.stream = d.stream AND c.position > d.position AND truth_value(d.data->>'needs_second')
        AND (c.type = 'request.withdrawn' OR
             c.type IN ('recommendation.confirmed', 'decision.withdrawn', 'decision.expired')
             AND whole_number(c.data->>'decision_id') = d.position AND c.recommendation_id = d.recommendation_id)
    WHERE d.type = 'recommendation.decided' AND d.recommendation_id < d.position
    ORDER BY d.position, c.position
),
-- Their states. A decision in force is revoked by the first revocation after it took effect.
decided AS MATERIALIZED (
    SELECT DISTINCT ON (d.position) d.*, r.occurred_at AS revoked_at,
           CASE WHEN NOT truth_value(d.data->>'needs_second') OR d.confirmation = 'approve'
                THEN CASE WHEN r.position IS NULL THEN 'effective' ELSE 'revoked' END
                WHEN d.settled_by IS NULL THEN 'waiting'
                WHEN d.settled_by = 'recommendation.confirmed' THEN 'declined'
                WHEN d.settled_by = 'decision.expired' THEN 'expired'
                ELSE 'withdrawn' END AS state
    FROM settled d
    LEFT JOIN acts r ON r.type = 'decision.revoked' AND r.stream = d.stream
        AND whole_number(r.data->>'decision_id') = d.position AND r.recommendation_id = d.recommendation_id
        AND r.position > coalesce(d.settled_at, d.position)
    ORDER BY d.position, r.position
)
SELECT
    answer.stream,
    answer.position AS id,
    stream_number(answer.stream, 'request-') AS request_id,
    answer.client_id,
    request.actor->>'id' AS requested_by,
    request.data->>'risk_profile' AS risk_profile,
    money(request.data->>'amount_usd')::numeric(14, 2) AS amount_usd,
    CASE WHEN next.position IS NOT NULL THEN 'superseded'
         WHEN communicated.position IS NOT NULL THEN 'communicated'
         WHEN withdrawn.position IS NOT NULL THEN 'withdrawn'
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
    opened.occurred_at AS opened_at,
    opened.actor_id AS opened_by,
    decision.position AS decision_id,
    decision.data->>'outcome' AS outcome,
    decision.actor_id AS decided_by,
    decision.occurred_at AS decided_at,
    decision.data->>'reason_code' AS reason_code,
    decision.data->>'reason_group' AS reason_group,
    decision.sealed->>'rationale' AS rationale,
    decision.sealed->'replacement' AS replacement,
    decision.commitments->>'replacement' AS replacement_digest,
    decision.sealed->>'response' AS response,
    truth_value(decision.data->>'needs_second') AS needs_second,
    decision.data->'second_rules' AS second_rules,
    CASE WHEN decision.settled_by = 'recommendation.confirmed' THEN decision.settler END AS confirmed_by,
    CASE WHEN decision.settled_by = 'recommendation.confirmed' THEN decision.settled_time END AS confirmed_at,
    coalesce(declined.declines, 0) AS declines,
    declined.position AS decline_id,
    declined.actor_id AS declined_by,
    declined.occurred_at AS declined_at,
    declined.rationale AS decline_rationale,
    communicated.occurred_at AS communicated_at,
    communicated.actor_id AS communicated_by,
    communicated.data->>'channel' AS channel,
    communicated.sealed->>'message' AS message,
    communicated.data->>'digest' AS communicated_digest,
    answer.actor->>'id' AS agent,
    answer.occurred_at AS created_at,
    greatest(answer.occurred_at, opened.occurred_at, latest.decided_at, latest.settled_at,
             latest.revoked_at, withdrawn.occurred_at, communicated.occurred_at, next.occurred_at) AS updated_at
FROM slice answer
LEFT JOIN slice request ON request.stream = answer.stream AND request.type = 'portfolio.requested'
    AND request.version = 1
-- The next recommendation of the stream, from separate scans that read no body: sorting `answer` would carry the wide
-- answers along. Most streams have one recommendation, so the streams with several are found first.
LEFT JOIN (
    SELECT lag(position) OVER of_stream AS previous, position, occurred_at
    FROM slice
    WHERE type = 'recommendation.recorded' AND stream IN (
        SELECT stream FROM slice WHERE type = 'recommendation.recorded' GROUP BY stream HAVING count(*) > 1
    )
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
    WHERE state IN ('effective', 'waiting')
    ORDER BY stream, recommendation_id, position DESC
) decision ON decision.stream = answer.stream AND decision.recommendation_id = answer.position
LEFT JOIN (
    SELECT stream, recommendation_id, max(occurred_at) AS decided_at, max(settled_time) AS settled_at,
           max(revoked_at) AS revoked_at
    FROM decided
    GROUP BY stream, recommendation_id
) latest ON latest.stream = answer.stream AND latest.recommendation_id = answer.position
-- The last decline, and how many there were.
LEFT JOIN (
    SELECT DISTINCT ON (stream, recommendation_id) stream, recommendation_id, settled_at AS position,
           settler AS actor_id, settled_time AS occurred_at, settled_sealed->>'rationale' AS rationale,
           count(*) OVER (PARTITION BY stream, recommendation_id) AS declines
    FROM decided
    WHERE state = 'declined'
    ORDER BY stream, recommendation_id, settled_at DESC
) declined ON declined.stream = answer.stream AND declined.recommendation_id = answer.position
-- The first withdrawal of the request, if the recommendation came before it.
LEFT JOIN (
    SELECT stream, min(position) AS position, min(occurred_at) AS occurred_at
    FROM acts
    WHERE type = 'request.withdrawn'
    GROUP BY stream
) withdrawn ON withdrawn.stream = answer.stream AND withdrawn.position > answer.position
    AND (next.position IS NULL OR withdrawn.position < next.position)
LEFT JOIN (
    SELECT DISTINCT ON (stream, recommendation_id) *
    FROM acts
    WHERE type = 'recommendation.communicated' AND recommendation_id < position
    ORDER BY stream, recommendation_id, position
) communicated ON communicated.stream = answer.stream AND communicated.recommendation_id = answer.position
WHERE answer.type = 'recommendation.recorded'
  AND stream_number(answer.stream, 'request-') IS NOT NULL
