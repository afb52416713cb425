-- One row a request: what was asked for, and how it ended. The last answer counts, should there be several.
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
    CASE answered.type
        WHEN 'recommendation.recorded' THEN 'recommended'
        WHEN 'request.failed' THEN 'failed'
        ELSE 'queued'
    END AS status,
    CASE answered.type WHEN 'recommendation.recorded' THEN answered.position END AS recommendation_id,
    failed.data->>'reason' AS failure_reason,
    failed.sealed->>'detail' AS failure_detail,
    asked.actor->>'id' AS requested_by,
    asked.recorded_at AS created_at,
    coalesce(answered.recorded_at, asked.recorded_at) AS updated_at
FROM slice asked
LEFT JOIN (
    SELECT DISTINCT ON (stream) stream, position, type, recorded_at
    FROM slice
    WHERE type IN ('recommendation.recorded', 'request.failed')
    ORDER BY stream, version DESC
) answered ON answered.stream = asked.stream
LEFT JOIN slice failed ON failed.position = answered.position AND failed.type = 'request.failed'
WHERE asked.type = 'portfolio.requested'
  AND asked.version = 1
  AND stream_number(asked.stream, 'request-') IS NOT NULL
