-- Counts the tokens in force and the revoked ones, for roles that cannot read the table of tokens.
CREATE OR REPLACE FUNCTION token_counts()
RETURNS TABLE (active bigint, revoked bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    SELECT count(*) FILTER (WHERE revoked_at IS NULL), count(revoked_at) FROM tokens
$$;
