-- How often people edited or rejected recommendations: by model, its version, the person who decided, and month. Only
-- decisions that are effective or wait for a confirmation count. Those whose reason is in the group no-longer-needed say
-- nothing about the model: `not_about_model` counts them, and they are left out of overrides and rate.
SELECT model_name, model_version, decided_by,
       date_trunc('month', created_at AT TIME ZONE 'UTC')::date AS month,
       count(*) AS decisions,
       count(*) FILTER (WHERE outcome = 'approve') AS approved,
       count(*) FILTER (WHERE outcome = 'edit') AS edited,
       count(*) FILTER (WHERE outcome = 'reject') AS rejected,
       count(*) FILTER (WHERE outcome = 'respond') AS responded,
       count(*) FILTER (WHERE is_override) AS overrides,
       round(count(*) FILTER (WHERE is_override)::numeric / nullif(count(*) FILTER (WHERE about_model), 0), 4)
           AS override_rate,
       count(*) FILTER (WHERE NOT about_model) AS not_about_model
FROM (
    SELECT model_name, model_version, decided_by, created_at, outcome,
           reason_group IS DISTINCT FROM 'no-longer-needed' AS about_model,
           outcome IN ('edit', 'reject') AND reason_group IS DISTINCT FROM 'no-longer-needed' AS is_override
    FROM decisions
    WHERE state IN ('effective', 'waiting')
) counted
GROUP BY 1, 2, 3, 4
ORDER BY 4 DESC, 1, 2, 3
