-- How many decisions a reviewer has looked at: by the person who decided and month. All decisions count, whatever became
-- of them.
SELECT decided_by,
       date_trunc('month', created_at AT TIME ZONE 'UTC')::date AS month,
       count(*) AS decisions,
       count(review_id) AS reviewed,
       count(*) FILTER (WHERE disposition = 'concern') AS concerns,
       round(count(review_id)::numeric / count(*), 4) AS reviewed_share
FROM decisions
GROUP BY 1, 2
ORDER BY 2 DESC, 1
