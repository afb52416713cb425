-- One row for each request: what the advisor asked for, and the status. A withdrawal is final, and the first one counts.
-- Otherwise the last of these events sets the status: a recommendation, a failure, or the advisor's response to the
-- latest recommendation. A response sends the request back to the agent, and it counts only if it needs no confirmation.
--
-- A stream has few answers and most streams have no failure and no response. So the last of each kind comes from an
-- aggregate by stream, and not from a sort of all answers. Times never decrease with positions.
SELECT
    request.stream,
    stream_number(request.stream, 'request-') AS id,
    request.sealed->>'client_id' AS client_id,
    request.data->>'risk_profile' AS risk_profile,
    money(request.data->>'amount_usd')::numeric(14, 2) AS amount_usd,
    CASE WHEN whole_number(request.data->>'horizon_years') BETWEEN 0 AND 1000
         THEN (request.data->>'horizon_years')::integer END AS horizon_years,
    request.sealed->'objectives' AS objectives,
    request.data->'constraints' AS constraints,
    request.sealed->>'notes' AS notes,
    request.data->>'portfolio' AS portfolio,
    CASE
        WHEN withdrawn.position IS NOT NULL THEN 'withdrawn'
        WHEN failed.position IS NOT NULL THEN 'failed'
        WHEN responded.position > answered.latest OR answered.latest IS NULL THEN 'queued'
        ELSE 'recommended'
    END AS status,
    answered.latest AS recommendation_id,
    failed.data->>'reason' AS failure_reason,
    failed.sealed->>'detail' AS failure_detail,
    withdrawn.position AS withdrawal_id,
    withdrawn.occurred_at AS withdrawn_at,
    withdrawn.actor->>'id' AS withdrawn_by,
    withdrawn.data->>'reason_code' AS withdrawal_reason,
    withdrawn.sealed->>'rationale' AS withdrawal_rationale,
    whole_number(withdrawn.data->>'replaced_by') AS replaced_by,
    request.actor->>'id' AS requested_by,
    coalesce(responded.imported, request.imported_by IS NOT NULL) AS imported,
    request.occurred_at AS created_at,
    greatest(request.occurred_at, answered.occurred_at, failed.occurred_at, responded.occurred_at,
             withdrawn.occurred_at) AS updated_at
FROM slice request
LEFT JOIN (
    -- No body is read.
    SELECT stream, max(position) AS latest, max(occurred_at) AS occurred_at
    FROM slice
    WHERE type = 'recommendation.recorded'
    GROUP BY stream
) answered ON answered.stream = request.stream
LEFT JOIN (
    SELECT stream, whole_number(data->>'recommendation_id') AS recommendation_id,
           max(position) AS position, max(occurred_at) AS occurred_at,
           bool_and(imported_by IS NOT NULL) FILTER (WHERE position > whole_number(data->>'recommendation_id')) AS imported
    FROM slice
    WHERE type = 'recommendation.decided' AND data->>'outcome' = 'respond' AND NOT truth_value(data->>'needs_second')
    GROUP BY 1, 2
) responded ON responded.stream = request.stream AND responded.recommendation_id = answered.latest
LEFT JOIN (
    SELECT DISTINCT ON (stream) stream, position, occurred_at, data, sealed
    FROM slice
    WHERE type = 'request.failed'
    ORDER BY stream, position DESC
) failed ON failed.stream = request.stream AND failed.position > greatest(answered.latest, responded.position, 0)
LEFT JOIN (
    SELECT DISTINCT ON (stream) stream, position, occurred_at, actor, data, sealed
    FROM slice
    WHERE type = 'request.withdrawn'
    ORDER BY stream, position
) withdrawn ON withdrawn.stream = request.stream AND withdrawn.position > request.position
WHERE request.type = 'portfolio.requested'
  AND request.version = 1
  AND stream_number(request.stream, 'request-') IS NOT NULL
