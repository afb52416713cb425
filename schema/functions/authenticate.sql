-- Returns name and role for the hash of a token; no row if the token is unknown or revoked.
CREATE OR REPLACE FUNCTION authenticate(token_hash bytea)
RETURNS TABLE (name text, role text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    SELECT t.name, t.role FROM tokens t WHERE t.hash = token_hash AND t.revoked_at IS NULL
$$;
