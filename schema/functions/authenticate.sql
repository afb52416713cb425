-- For processes of the version before subjects, which go on during a rolling upgrade: name and role for the hash of a token.
-- A subject with several roles gets the first. Later versions do not call it, and it goes with the next one.
CREATE OR REPLACE FUNCTION authenticate(token_hash bytea)
RETURNS TABLE (name text, role text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    SELECT s.name, s.roles[1]
    FROM credentials c JOIN subjects s ON s.name = c.subject
    WHERE c.sha256 = encode(token_hash, 'hex') AND c.revoked_at IS NULL
      AND (c.ends_at IS NULL OR c.ends_at > clock_timestamp())
      AND s.kind IS NOT NULL AND s.roles <> '{}' AND (s.kind = 'agent' OR NOT s.suspended)
$$;
