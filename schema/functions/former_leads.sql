-- Returns true if a process of a version without the table of leaders leads: it holds an advisory lock with a fixed number.
-- Any login can take that lock, so it counts only where the holder's login may act in the role. Otherwise this session
-- takes the lock itself, until it ends, so that such a process does not lead later.
CREATE OR REPLACE FUNCTION former_leads(role text)
RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    class integer := CASE role WHEN 'owner' THEN x'414C0002'::int WHEN 'signer' THEN x'414C0003'::int ELSE x'414C0004'::int END;
    number integer := hashtext(current_schema());
BEGIN
    RETURN NOT pg_try_advisory_lock(class, number) AND EXISTS (
        SELECT FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.classid = class::oid AND l.objid = (number::bigint & 4294967295)::oid
          AND pg_has_role(a.usesysid, format('%s_%s', current_schema(), role), 'MEMBER')
    );
END
$$;
