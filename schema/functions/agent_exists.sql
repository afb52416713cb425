-- Returns true if a token of this name was made for an agent, revoked or not. Callers cannot read the table of tokens.
CREATE OR REPLACE FUNCTION agent_exists(name text)
RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    SELECT EXISTS (SELECT FROM tokens t WHERE t.name = agent_exists.name AND t.role = 'agent')
$$;
