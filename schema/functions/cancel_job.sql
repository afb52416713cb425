-- Cancels a job that has not ended. A worker that runs it notices when it renews its lease, and its result is dropped.
-- Returns the new state of the job, or null for an unknown job.
CREATE OR REPLACE FUNCTION cancel_job(job bigint, keep interval)
RETURNS text
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    UPDATE jobs j
    SET state = 'cancelled', worker = NULL, lease_until = NULL, renewed_at = NULL,
        ended_at = clock_timestamp(), expires_at = clock_timestamp() + keep
    WHERE j.id = job AND j.state IN ('queued', 'running');

    SELECT j.state FROM jobs j WHERE j.id = job
$$;
