-- Makes this session the leader of verification, see take_lead(), and notes that it works. The leader calls it
-- repeatedly. Only the role verifier may call it.
CREATE OR REPLACE FUNCTION lead_verifying()
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
BEGIN
    IF NOT take_lead('verifier') THEN
        RETURN false;
    END IF;
    UPDATE leaders SET seen = clock_timestamp() WHERE role = 'verifier';
    RETURN true;
END
$$;
