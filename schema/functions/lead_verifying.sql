-- Makes this session the one that leads verifying, see take_lead(). Only the role verifier may call it.
CREATE OR REPLACE FUNCTION lead_verifying()
RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    SELECT take_lead('verifier')
$$;
