-- How often each subject read, exported or was refused, by day (UTC) and role. A record stands for all accesses of one
-- kind within a minute.
SELECT subject, role, (created_at AT TIME ZONE 'UTC')::date AS day,
       count(*) FILTER (WHERE action = 'read') AS reads,
       count(*) FILTER (WHERE action = 'export') AS exports,
       count(*) FILTER (WHERE action = 'refused') AS refusals,
       min(created_at) AS first_at,
       max(created_at) AS last_at
FROM accesses
GROUP BY 1, 2, 3
ORDER BY 3 DESC, 1, 2
