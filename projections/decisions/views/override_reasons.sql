-- Why people edited or rejected recommendations, by the reason codes that they gave.
SELECT model_name, model_version, decided_by,
       date_trunc('month', created_at AT TIME ZONE 'UTC')::date AS month,
       reason_code, reason_group,
       count(*) AS overrides,
       count(*) FILTER (WHERE outcome = 'edit') AS edited,
       count(*) FILTER (WHERE outcome = 'reject') AS rejected
FROM decisions
WHERE state IN ('effective', 'waiting') AND outcome IN ('edit', 'reject')
GROUP BY 1, 2, 3, 4, 5, 6
ORDER BY 4 DESC, 1, 2, 3, 5, 6
