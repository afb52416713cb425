-- Select for each kind the numbers of jobs that wait, run and have failed, and how long the first job that could begin
-- has waited.
SELECT kind, count(*) FILTER (WHERE state = 'queued'), count(*) FILTER (WHERE state = 'running'),
       count(*) FILTER (WHERE state = 'failed'),
       greatest(coalesce(extract(epoch FROM clock_timestamp() - min(not_before) FILTER (WHERE state = 'queued')), 0), 0)::float8
FROM jobs
GROUP BY kind
ORDER BY kind
