-- Select the jobs of these kinds that have expired, the earliest first.
SELECT id, kind, parameters FROM jobs
WHERE expires_at <= clock_timestamp() AND kind = ANY (%s)
ORDER BY expires_at
LIMIT %s
