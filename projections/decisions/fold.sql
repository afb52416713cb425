-- One row for each decision about a recommendation of a request: outcome, reason, how long it took, and its
-- confirmation. A decision comes after the recommendation in the same stream and names it by id. Other events are
-- ignored.
WITH acts AS MATERIALIZED (
    SELECT stream, position, type, recorded_at, actor, data, sealed, commitments, client_id,
           whole_number(data->>'recommendation_id') AS recommendation_id
    FROM slice
    WHERE type IN ('recommendation.decided', 'recommendation.confirmed')
),
-- Events that may come before a decision or a confirmation. No sealed values are read, and only a few members of a
-- body.
before AS MATERIALIZED (
    SELECT stream, position, version, type, recorded_at, actor->>'id' AS actor_id,
           data->>'model_name' AS model_name, data->>'model_version' AS model_version,
           data->>'amount_usd' AS amount_usd, whole_number(data->>'recommendation_id') AS recommendation_id
    FROM slice
    WHERE type IN ('portfolio.requested', 'recommendation.recorded', 'recommendation.opened')
      AND stream_number(stream, 'request-') IS NOT NULL
),
-- The first confirmation of each decision that needs one. Later confirmations do not count.
confirmed AS (
    SELECT DISTINCT ON (d.position) d.position AS decision_id, c.*
    FROM acts d
    JOIN acts c ON c.stream = d.stream AND whole_number(c.data->>'decision_id') = d.position
        AND c.recommendation_id = d.recommendation_id AND c.position > d.position
    WHERE d.type = 'recommendation.decided' AND truth_value(d.data->>'needs_second')
      AND c.type = 'recommendation.confirmed'
    ORDER BY d.position, c.position
),
-- When the person who decided had last opened the recommendation.
opened AS (
    SELECT d.position AS decision_id, max(o.recorded_at) AS opened_at
    FROM acts d
    JOIN before o ON o.stream = d.stream AND o.recommendation_id = d.recommendation_id AND o.position < d.position
        AND o.recommendation_id < o.position AND o.actor_id = d.actor->>'id'
    WHERE d.type = 'recommendation.decided' AND o.type = 'recommendation.opened'
    GROUP BY d.position
),
-- When the confirmer had last opened it after the decision, with the content before or after the edit.
second_opened AS (
    SELECT c.decision_id, max(o.recorded_at) AS opened_at
    FROM confirmed c
    JOIN before o ON o.stream = c.stream AND o.recommendation_id = c.recommendation_id
        AND o.position > c.decision_id AND o.position < c.position AND o.actor_id = c.actor->>'id'
    WHERE o.type = 'recommendation.opened'
    GROUP BY c.decision_id
)
SELECT
    decided.stream,
    decided.position AS id,
    decided.recommendation_id,
    stream_number(decided.stream, 'request-') AS request_id,
    decided.client_id,
    decided.data->>'outcome' AS outcome,
    CASE WHEN NOT truth_value(decided.data->>'needs_second') THEN 'effective'
         WHEN confirmed.position IS NULL THEN 'waiting'
         WHEN confirmed.data->>'outcome' = 'approve' THEN 'effective'
         ELSE 'declined' END AS state,
    decided.data->>'digest' AS digest,
    decided.data->>'reason_code' AS reason_code,
    decided.data->>'reason_group' AS reason_group,
    decided.sealed->>'rationale' AS rationale,
    decided.sealed->'replacement' AS replacement,
    decided.commitments->>'replacement' AS replacement_digest,
    decided.sealed->>'response' AS response,
    decided.actor->>'id' AS decided_by,
    decided.actor->>'role' AS decided_role,
    opened.opened_at,
    decided.recorded_at AS created_at,
    extract(epoch FROM decided.recorded_at - coalesce(opened.opened_at, answer.recorded_at)) AS seconds_to_decide,
    truth_value(decided.data->>'needs_second') AS needs_second,
    decided.data->'second_rules' AS second_rules,
    confirmed.data->>'outcome' AS confirmation,
    confirmed.actor->>'id' AS confirmed_by,
    confirmed.actor->>'role' AS confirmed_role,
    second_opened.opened_at AS second_opened_at,
    confirmed.recorded_at AS confirmed_at,
    extract(epoch FROM confirmed.recorded_at - coalesce(second_opened.opened_at, decided.recorded_at))
        AS seconds_to_confirm,
    confirmed.sealed->>'rationale' AS second_rationale,
    decided.data->>'four_eyes_version' AS four_eyes_version,
    decided.data->>'reason_codes_version' AS reason_codes_version,
    answer.model_name,
    answer.model_version,
    answer.actor_id AS agent,
    money(request.amount_usd)::numeric(14, 2) AS amount_usd
FROM acts decided
JOIN before answer ON answer.stream = decided.stream AND answer.position = decided.recommendation_id
    AND answer.position < decided.position AND answer.type = 'recommendation.recorded'
LEFT JOIN before request ON request.stream = decided.stream AND request.type = 'portfolio.requested'
    AND request.version = 1
LEFT JOIN confirmed ON confirmed.decision_id = decided.position
LEFT JOIN opened ON opened.decision_id = decided.position
LEFT JOIN second_opened ON second_opened.decision_id = decided.position
WHERE decided.type = 'recommendation.decided'
