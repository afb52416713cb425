-- How many decisions a reviewer has looked at, how many a sample chose, and about how many there is a finding: by the
-- person who decided and month. All decisions count, whatever became of them.
SELECT decided_by,
       date_trunc('month', created_at AT TIME ZONE 'UTC')::date AS month,
       count(*) AS decisions,
       count(review_id) AS reviewed,
       count(*) FILTER (WHERE disposition = 'concern') AS concerns,
       round(count(review_id)::numeric / count(*), 4) AS reviewed_share,
       count(*) FILTER (WHERE samples > 0) AS sampled,
       count(*) FILTER (WHERE samples > 0 AND review_id IS NOT NULL) AS sampled_reviewed,
       count(*) FILTER (WHERE findings > 0) AS with_findings,
       count(*) FILTER (WHERE open_findings > 0) AS with_open_findings
FROM decisions
GROUP BY 1, 2
ORDER BY 2 DESC, 1
