-- One row a request: what was asked for, and where it stands. The last word counts: an answer, a failure, or the
-- advisor's response to the latest answer, which sends the request back to the agent (and never needs a second person).
SELECT
    asked.stream,
    stream_number(asked.stream, 'request-') AS id,
    asked.sealed->>'client_id' AS client_id,
    asked.data->>'risk_profile' AS risk_profile,
    (asked.data->>'amount_usd')::numeric(14, 2) AS amount_usd,
    (asked.data->>'horizon_years')::integer AS horizon_years,
    asked.sealed->'objectives' AS objectives,
    asked.data->'constraints' AS constraints,
    asked.sealed->>'notes' AS notes,
    CASE told.type
        WHEN 'recommendation.recorded' THEN 'recommended'
        WHEN 'request.failed' THEN 'failed'
        ELSE 'queued'
    END AS status,
    told.latest AS recommendation_id,
    failed.data->>'reason' AS failure_reason,
    failed.sealed->>'detail' AS failure_detail,
    asked.actor->>'id' AS requested_by,
    asked.recorded_at AS created_at,
    coalesce(told.recorded_at, asked.recorded_at) AS updated_at
FROM slice asked
LEFT JOIN (
    SELECT DISTINCT ON (stream) stream, position, type, recorded_at, latest
    FROM (
        SELECT e.*, max(position) FILTER (WHERE type = 'recommendation.recorded') OVER (PARTITION BY stream) AS latest
        FROM (
            -- Of these two types no body is read.
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
) told ON told.stream = asked.stream
LEFT JOIN slice failed ON failed.position = told.position AND failed.type = 'request.failed'
WHERE asked.type = 'portfolio.requested'
  AND asked.version = 1
  AND stream_number(asked.stream, 'request-') IS NOT NULL
