-- Makes this session the leader of signing, see take_lead(). Only the role signer may call it.
CREATE OR REPLACE FUNCTION lead_signing()
RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    SELECT take_lead('signer')
$$;
