-- Renews the lease on a job by its length from now, and notes the progress. Returns false if the job is no longer this
-- worker's: it was cancelled, or the lease ended and another worker has it. Then the worker stops.
CREATE OR REPLACE FUNCTION hold_job(job bigint, worker text, attempt integer, lease interval, done bigint, total bigint)
RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    WITH held AS (
        UPDATE jobs j
        SET lease_until = clock_timestamp() + lease, renewed_at = clock_timestamp(),
            done = hold_job.done, total = hold_job.total
        WHERE j.id = job AND j.state = 'running' AND j.worker = hold_job.worker AND j.attempt = hold_job.attempt
        RETURNING j.id)
    SELECT EXISTS (SELECT FROM held)
$$;
