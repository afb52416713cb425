-- Deletes a job that has ended and expired.
CREATE OR REPLACE FUNCTION forget_job(job bigint)
RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    DELETE FROM jobs j WHERE j.id = job AND j.expires_at <= clock_timestamp()
$$;
