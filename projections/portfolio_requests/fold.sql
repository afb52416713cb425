-- One row for each request: what the advisor asked for, and the status. The last of these events sets the status: a
-- recommendation, a failure, or the advisor's response to the latest recommendation. A response sends the request back
-- to the agent, and it counts only if it needs no confirmation.
SELECT
    request.stream,
    stream_number(request.stream, 'request-') AS id,
    request.sealed->>'client_id' AS client_id,
    request.data->>'risk_profile' AS risk_profile,
    (request.data->>'amount_usd')::numeric(14, 2) AS amount_usd,
    (request.data->>'horizon_years')::integer AS horizon_years,
    request.sealed->'objectives' AS objectives,
    request.data->'constraints' AS constraints,
    request.sealed->>'notes' AS notes,
    CASE last.type
        WHEN 'recommendation.recorded' THEN 'recommended'
        WHEN 'request.failed' THEN 'failed'
        ELSE 'queued'
    END AS status,
    last.latest AS recommendation_id,
    failed.data->>'reason' AS failure_reason,
    failed.sealed->>'detail' AS failure_detail,
    request.actor->>'id' AS requested_by,
    request.recorded_at AS created_at,
    coalesce(last.recorded_at, request.recorded_at) AS updated_at
FROM slice request
LEFT JOIN (
    SELECT DISTINCT ON (stream) stream, position, type, recorded_at, latest
    FROM (
        SELECT e.*, max(position) FILTER (WHERE type = 'recommendation.recorded') OVER (PARTITION BY stream) AS latest
        FROM (
            -- For these two types no body is read.
            SELECT stream, position, type, recorded_at, NULL::bigint AS responds_to
            FROM slice
            WHERE type IN ('recommendation.recorded', 'request.failed')
            UNION ALL
            SELECT stream, position, type, recorded_at,
                   CASE WHEN data->>'outcome' = 'respond' AND NOT (data->>'needs_second')::boolean
                        THEN (data->>'recommendation_id')::bigint ELSE 0 END
            FROM slice
            WHERE type = 'recommendation.decided'
        ) e
    ) e
    WHERE responds_to IS NULL OR responds_to = latest
    ORDER BY stream, position DESC
) last ON last.stream = request.stream
LEFT JOIN slice failed ON failed.position = last.position AND failed.type = 'request.failed'
WHERE request.type = 'portfolio.requested'
  AND request.version = 1
  AND stream_number(request.stream, 'request-') IS NOT NULL
