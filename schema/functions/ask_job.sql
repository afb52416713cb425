-- Queues a job, once for each key. `same` is false if the key belongs to another job. `job` is null if this subject
-- already has the most jobs of this kind that it may have waiting or running.
CREATE OR REPLACE FUNCTION ask_job(key uuid, kind text, parameters text, asked_by text, pause interval, most integer)
RETURNS TABLE (job bigint, same boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
#variable_conflict use_column
DECLARE
    found jobs;
BEGIN
    SELECT * INTO found FROM jobs j WHERE j.key = ask_job.key;
    IF found.id IS NULL THEN
        IF (SELECT count(*) FROM (
                SELECT FROM jobs j
                WHERE j.state IN ('queued', 'running') AND j.kind = ask_job.kind AND j.asked_by = ask_job.asked_by
                LIMIT most) waiting) >= most
        THEN
            RETURN QUERY SELECT NULL::bigint, true;
            RETURN;
        END IF;
        INSERT INTO jobs (key, kind, parameters, asked_by, not_before)
        VALUES (ask_job.key, ask_job.kind, ask_job.parameters, ask_job.asked_by, clock_timestamp() + pause)
        ON CONFLICT (key) DO NOTHING;
        SELECT * INTO STRICT found FROM jobs j WHERE j.key = ask_job.key;
    END IF;
    RETURN QUERY SELECT found.id, found.kind = ask_job.kind AND found.parameters = ask_job.parameters
        AND found.asked_by = ask_job.asked_by;
END
$$;
