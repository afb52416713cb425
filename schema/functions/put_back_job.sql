-- Queues a job again that this worker has, not to be claimed before a pause is over: its worker stops, or it is tried again,
-- with the name of the error. The claim counts as an attempt only if "counted" says so. Returns false as hold_job() does.
CREATE OR REPLACE FUNCTION put_back_job(job bigint, worker text, attempt integer, pause interval, error text, counted boolean)
RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    WITH back AS (
        UPDATE jobs j
        SET state = 'queued', worker = NULL, lease_until = NULL, renewed_at = NULL,
            not_before = clock_timestamp() + pause, error = put_back_job.error,
            attempt = CASE WHEN counted THEN j.attempt ELSE j.attempt - 1 END
        WHERE j.id = job AND j.state = 'running' AND j.worker = put_back_job.worker AND j.attempt = put_back_job.attempt
        RETURNING j.id)
    SELECT EXISTS (SELECT FROM back)
$$;
