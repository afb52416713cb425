-- One row for each decision about a recommendation of a request: outcome, reason, how long it took, its confirmation,
-- and how it ended. A decision comes after the recommendation in the same stream and names it by id. Other events are
-- ignored.
WITH acts AS MATERIALIZED (
    SELECT stream, position, type, recorded_at, occurred_at, actor, data, sealed, commitments, client_id,
           whole_number(data->>'recommendation_id') AS recommendation_id
    FROM slice
    WHERE type IN ('recommendation.decided', 'recommendation.confirmed', 'decision.withdrawn', 'decision.revoked',
                   'decision.expired', 'request.withdrawn', 'case.reviewed', 'review.assigned', 'finding.opened',
                   'finding.closed')
),
-- Events that may come before a decision or a confirmation. No sealed values are read, and only a few members of a
-- body.
before AS MATERIALIZED (
    SELECT stream, position, version, type, occurred_at, actor->>'id' AS actor_id,
           data->>'model_name' AS model_name, data->>'model_version' AS model_version,
           data->>'amount_usd' AS amount_usd, data->>'risk_profile' AS risk_profile, whole_number(data->>'recommendation_id') AS recommendation_id
    FROM slice
    WHERE type IN ('portfolio.requested', 'recommendation.recorded', 'recommendation.opened')
      AND stream_number(stream, 'request-') IS NOT NULL
),
-- What settled each decision that needs a confirmation: the first of its confirmations, its withdrawal, its expiry, and
-- the withdrawal of the request. Later ones do not count.
settled AS MATERIALIZED (
    SELECT DISTINCT ON (d.position) d.position AS decision_id, c.*
    FROM acts d
    JOIN acts c ON c.stream = d.stream AND c.position > d.position
        AND (c.type = 'request.withdrawn' OR
             c.type IN ('recommendation.confirmed', 'decision.withdrawn', 'decision.expired')
             AND whole_number(c.data->>'decision_id') = d.position AND c.recommendation_id = d.recommendation_id)
    WHERE d.type = 'recommendation.decided' AND truth_value(d.data->>'needs_second')
    ORDER BY d.position, c.position
),
confirmed AS (
    SELECT * FROM settled WHERE type = 'recommendation.confirmed'
),
-- The first revocation of each decision after it took effect.
revoked AS (
    SELECT DISTINCT ON (d.position) d.position AS decision_id, r.*
    FROM acts d
    JOIN acts r ON r.stream = d.stream AND whole_number(r.data->>'decision_id') = d.position
        AND r.recommendation_id = d.recommendation_id AND r.position > d.position
    LEFT JOIN confirmed c ON c.decision_id = d.position
    WHERE d.type = 'recommendation.decided' AND r.type = 'decision.revoked'
      AND CASE WHEN truth_value(d.data->>'needs_second')
               THEN c.data->>'outcome' = 'approve' AND c.position < r.position ELSE true END
    ORDER BY d.position, r.position
),
-- How each decision ended that is neither in force nor declined.
ended AS (
    SELECT * FROM revoked
    UNION ALL
    SELECT * FROM settled WHERE type <> 'recommendation.confirmed'
),
-- The declines before each decision on the same recommendation: how many, and the last one.
declined AS (
    SELECT DISTINCT ON (d.position) d.position AS decision_id, c.position AS decline_id, c.actor->>'id' AS declined_by,
           c.occurred_at AS declined_at, c.sealed->>'rationale' AS rationale,
           count(*) OVER (PARTITION BY d.position) AS declines
    FROM acts d
    JOIN confirmed c ON c.stream = d.stream AND c.recommendation_id = d.recommendation_id AND c.position < d.position
    WHERE d.type = 'recommendation.decided' AND c.data->>'outcome' IS DISTINCT FROM 'approve'
    ORDER BY d.position, c.position DESC
),
-- When the client was told about the recommendation.
told AS (
    SELECT stream, recommendation_id, min(occurred_at) AS communicated_at
    FROM (
        SELECT stream, position, occurred_at, whole_number(data->>'recommendation_id') AS recommendation_id
        FROM slice
        WHERE type = 'recommendation.communicated'
    ) communicated
    WHERE recommendation_id < position
    GROUP BY 1, 2
),
-- The last review that looked at each decision.
reviewed AS (
    SELECT DISTINCT ON (d.position) d.position AS decision_id, r.position, r.actor, r.occurred_at, r.data, r.sealed
    FROM acts d
    JOIN acts r ON r.stream = d.stream AND r.position > d.position AND whole_number(r.data->>'upto') >= d.position
    WHERE d.type = 'recommendation.decided' AND r.type = 'case.reviewed'
    ORDER BY d.position, r.position DESC
),
-- How many samples chose each decision.
sampled AS (
    SELECT stream, whole_number(data->>'decision_id') AS decision_id, count(*) AS samples
    FROM acts
    WHERE type = 'review.assigned' AND whole_number(data->>'decision_id') < position
    GROUP BY 1, 2
),
closed AS (
    SELECT DISTINCT stream, whole_number(data->>'finding_id') AS finding_id
    FROM acts
    WHERE type = 'finding.closed' AND whole_number(data->>'finding_id') < position
),
-- Findings about each decision, or about the whole case after it.
found AS (
    SELECT d.position AS decision_id, count(*) AS findings,
           count(*) FILTER (WHERE closed.finding_id IS NULL) AS open_findings
    FROM acts d
    JOIN acts f ON f.stream = d.stream AND f.position > d.position
        AND coalesce(whole_number(f.data->>'decision_id'), d.position) = d.position
    LEFT JOIN closed ON closed.stream = f.stream AND closed.finding_id = f.position
    WHERE d.type = 'recommendation.decided' AND f.type = 'finding.opened'
    GROUP BY d.position
),
-- When the person who decided had last opened the recommendation.
opened AS (
    SELECT d.position AS decision_id, max(o.occurred_at) AS opened_at
    FROM acts d
    JOIN before o ON o.stream = d.stream AND o.recommendation_id = d.recommendation_id AND o.position < d.position
        AND o.recommendation_id < o.position AND o.actor_id = d.actor->>'id'
    WHERE d.type = 'recommendation.decided' AND o.type = 'recommendation.opened'
    GROUP BY d.position
),
-- When the confirmer had last opened it after the decision, with the content before or after the edit.
second_opened AS (
    SELECT c.decision_id, max(o.occurred_at) AS opened_at
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
    CASE WHEN ended.type = 'decision.revoked' THEN 'revoked'
         WHEN ended.type = 'decision.expired' THEN 'expired'
         WHEN ended.position IS NOT NULL THEN 'withdrawn'
         WHEN NOT truth_value(decided.data->>'needs_second') THEN 'effective'
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
    decided.occurred_at AS created_at,
    extract(epoch FROM decided.occurred_at - coalesce(opened.opened_at, answer.occurred_at)) AS seconds_to_decide,
    truth_value(decided.data->>'needs_second') AS needs_second,
    decided.data->'second_rules' AS second_rules,
    -- A deadline of people: from when this ledger has it.
    CASE WHEN whole_number(decided.data->>'confirm_within_hours') BETWEEN 1 AND 87600 AND isfinite(decided.recorded_at)
         THEN decided.recorded_at + make_interval(hours => (decided.data->>'confirm_within_hours')::integer)
         END AS confirm_by,
    confirmed.data->>'outcome' AS confirmation,
    confirmed.actor->>'id' AS confirmed_by,
    confirmed.actor->>'role' AS confirmed_role,
    second_opened.opened_at AS second_opened_at,
    confirmed.occurred_at AS confirmed_at,
    extract(epoch FROM confirmed.occurred_at - coalesce(second_opened.opened_at, decided.occurred_at))
        AS seconds_to_confirm,
    confirmed.sealed->>'rationale' AS second_rationale,
    ended.position AS end_id,
    ended.actor->>'id' AS ended_by,
    ended.occurred_at AS ended_at,
    ended.data->>'reason_code' AS end_reason,
    ended.sealed->>'rationale' AS end_rationale,
    coalesce(declined.declines, 0) AS earlier_declines,
    declined.decline_id,
    declined.declined_by,
    declined.declined_at,
    declined.rationale AS decline_rationale,
    reviewed.position AS review_id,
    reviewed.actor->>'id' AS reviewed_by,
    reviewed.occurred_at AS reviewed_at,
    reviewed.data->>'disposition' AS disposition,
    reviewed.sealed->>'note' AS review_note,
    coalesce(sampled.samples, 0) AS samples,
    coalesce(found.findings, 0) AS findings,
    coalesce(found.open_findings, 0) AS open_findings,
    decided.data->>'four_eyes_version' AS four_eyes_version,
    decided.data->>'reason_codes_version' AS reason_codes_version,
    answer.model_name,
    answer.model_version,
    answer.actor_id AS agent,
    request.actor_id AS requested_by,
    request.risk_profile,
    money(request.amount_usd)::numeric(14, 2) AS amount_usd,
    told.communicated_at
FROM acts decided
JOIN before answer ON answer.stream = decided.stream AND answer.position = decided.recommendation_id
    AND answer.position < decided.position AND answer.type = 'recommendation.recorded'
LEFT JOIN before request ON request.stream = decided.stream AND request.type = 'portfolio.requested'
    AND request.version = 1
LEFT JOIN confirmed ON confirmed.decision_id = decided.position
LEFT JOIN ended ON ended.decision_id = decided.position
LEFT JOIN declined ON declined.decision_id = decided.position
LEFT JOIN told ON told.stream = decided.stream AND told.recommendation_id = decided.recommendation_id
LEFT JOIN reviewed ON reviewed.decision_id = decided.position
LEFT JOIN sampled ON sampled.stream = decided.stream AND sampled.decision_id = decided.position
LEFT JOIN found ON found.decision_id = decided.position
LEFT JOIN opened ON opened.decision_id = decided.position
LEFT JOIN second_opened ON second_opened.decision_id = decided.position
WHERE decided.type = 'recommendation.decided'
