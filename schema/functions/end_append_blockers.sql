-- Ends the sessions of the ledger's roles that have kept append() out for more than 15 seconds, and returns them. The limit for
-- idle transactions (10 s) ends what was left by accident before; a session can lift its own limit, but not this one. The
-- bound stands here, so that a caller cannot end what works. Not ended: who waits for a standby, and who has a login that the
-- owner is no member of.
CREATE OR REPLACE FUNCTION end_append_blockers()
RETURNS TABLE (pid integer, login text, application text, state text, for_s double precision, held text)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    SELECT b.pid, b.login, b.application, b.state, b.for_s, b.held
    FROM (SELECT * FROM append_blockers() OFFSET 0) b JOIN pg_roles r ON r.rolname = b.login
    WHERE b.for_s > 15 AND NOT b.standby AND NOT r.rolsuper AND pg_has_role(r.oid, 'USAGE') AND pg_terminate_backend(b.pid)
$$;
