-- The same as review_coverage by other keys: by the agent that recommended, the person who decided, the reviewer whose
-- review counts, or its disposition. "by" says which, "name" whom or what. A decision counts once by each key; one without
-- a review has no reviewer and no disposition, so its name is null there.
SELECT k.by, k.name,
       date_trunc('month', d.created_at AT TIME ZONE 'UTC')::date AS month,
       count(*) AS decisions,
       count(d.review_id) AS reviewed,
       count(*) FILTER (WHERE d.disposition = 'concern') AS concerns,
       round(count(d.review_id)::numeric / count(*), 4) AS reviewed_share,
       count(*) FILTER (WHERE d.samples > 0) AS sampled,
       count(*) FILTER (WHERE d.samples > 0 AND d.review_id IS NOT NULL) AS sampled_reviewed,
       count(*) FILTER (WHERE d.findings > 0) AS with_findings,
       count(*) FILTER (WHERE d.open_findings > 0) AS with_open_findings
FROM decisions d
CROSS JOIN LATERAL (VALUES ('agent', d.agent), ('person', d.decided_by), ('reviewer', d.reviewed_by),
                           ('disposition', d.disposition)) k(by, name)
GROUP BY 1, 2, 3
ORDER BY 3 DESC, 1, 2
