-- Returns for how many seconds the leader of verification has not reported that it works; null without a leader that
-- reports it.
CREATE OR REPLACE FUNCTION verifier_idle_s()
RETURNS double precision
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    SELECT extract(epoch FROM clock_timestamp() - seen)::float8 FROM leaders WHERE role = 'verifier'
$$;
