-- Ends a job that this worker has: done with a result, or failed with the name of an error, and notes its progress.
-- The job is kept in the table for "keep". Returns false as hold_job() does; then the result is dropped.
CREATE OR REPLACE FUNCTION end_job(job bigint, worker text, attempt integer, result text, error text, keep interval, done bigint, total bigint)
RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    WITH ended AS (
        UPDATE jobs j
        SET state = CASE WHEN end_job.error IS NULL THEN 'done' ELSE 'failed' END,
            result = end_job.result, error = end_job.error, worker = NULL, lease_until = NULL, renewed_at = NULL,
            done = end_job.done, total = end_job.total,
            ended_at = clock_timestamp(), expires_at = clock_timestamp() + keep
        WHERE j.id = job AND j.state = 'running' AND j.worker = end_job.worker AND j.attempt = end_job.attempt
        RETURNING j.id)
    SELECT EXISTS (SELECT FROM ended)
$$;
