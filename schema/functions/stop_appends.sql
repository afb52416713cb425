-- Makes append() refuse everything (AL010), in all processes and across restarts, until adopt_checkpoint() lifts it. The
-- signer calls this when the database does not go on from what was signed last. An append that holds the row of head
-- commits before; none commits after.
CREATE OR REPLACE FUNCTION stop_appends(reason text)
RETURNS void
LANGUAGE sql
SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    UPDATE head SET stopped = left(reason, 2000) WHERE stopped IS DISTINCT FROM left(reason, 2000)
$$;
