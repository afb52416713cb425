-- How often people edited or rejected recommendations: by model, its version, the person who decided, and month. Only
-- decisions that are effective or wait for a confirmation count; declined ones do not.
SELECT model_name, model_version, decided_by,
       date_trunc('month', created_at AT TIME ZONE 'UTC')::date AS month,
       count(*) AS decisions,
       count(*) FILTER (WHERE outcome = 'approve') AS approved,
       count(*) FILTER (WHERE outcome = 'edit') AS edited,
       count(*) FILTER (WHERE outcome = 'reject') AS rejected,
       count(*) FILTER (WHERE outcome = 'respond') AS responded,
       count(*) FILTER (WHERE outcome IN ('edit', 'reject')) AS overrides,
       round(count(*) FILTER (WHERE outcome IN ('edit', 'reject'))::numeric / count(*), 4) AS override_rate
FROM decisions
WHERE state IN ('effective', 'waiting')
GROUP BY 1, 2, 3, 4
ORDER BY 4 DESC, 1, 2, 3
