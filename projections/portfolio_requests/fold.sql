-- One row a request: what was asked for, and how it ended.
SELECT
    asked.stream,
    stream_number(asked.stream, 'request-') AS id,
    asked.client_id,
    data.risk_profile,
    data.amount_usd,
    data.horizon_years,
    sealed.objectives,
    data.constraints,
    sealed.notes,
    coalesce(answered.status, 'queued') AS status,
    answered.recommendation_id,
    answered.failure_reason,
    answered.failure_detail,
    asked.actor->>'id' AS requested_by,
    asked.recorded_at AS created_at,
    coalesce(answered.recorded_at, asked.recorded_at) AS updated_at
FROM slice asked
CROSS JOIN LATERAL json_to_record(asked.data)
    AS data (risk_profile text, amount_usd numeric(14, 2), horizon_years integer, constraints jsonb)
CROSS JOIN LATERAL json_to_record(coalesce(asked.sealed, '{}')) AS sealed (objectives jsonb, notes text)
LEFT JOIN (
    SELECT DISTINCT ON (stream)
        stream,
        CASE type WHEN 'recommendation.recorded' THEN 'recommended' ELSE 'failed' END AS status,
        CASE type WHEN 'recommendation.recorded' THEN position END AS recommendation_id,
        data->>'reason' AS failure_reason,
        sealed->>'detail' AS failure_detail,
        recorded_at
    FROM slice
    WHERE type IN ('recommendation.recorded', 'request.failed')
    ORDER BY stream, version DESC
) answered ON answered.stream = asked.stream
WHERE asked.type = 'portfolio.requested'
  AND asked.version = 1
  AND stream_number(asked.stream, 'request-') IS NOT NULL
