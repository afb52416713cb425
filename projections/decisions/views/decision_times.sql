-- How long decisions took, in seconds (decisions.seconds_to_decide). Median and p90 are times that occurred: the
-- shortest time that at least half, or nine in ten, of the decisions did not exceed.
SELECT model_name, model_version, decided_by,
       date_trunc('month', created_at AT TIME ZONE 'UTC')::date AS month,
       count(*) AS decisions,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY seconds_to_decide) AS median_s,
       percentile_disc(0.9) WITHIN GROUP (ORDER BY seconds_to_decide) AS p90_s,
       min(seconds_to_decide) AS min_s
FROM decisions
WHERE state IN ('effective', 'waiting')
GROUP BY 1, 2, 3, 4
ORDER BY 4 DESC, 1, 2, 3
