-- Makes this session the leader of a role's work, unless another session leads; returns whether this session leads.
--
-- The row of leaders says who leads, and only the functions granted to the role reach it. The leader's session holds an
-- advisory lock until it ends, however it ends. That lock only shows that the session lives: a lock of another session,
-- which any login can take, shows nothing. So nothing expires, no clock is asked and no transaction stays open.
--
-- Lock: the row, until the end of the caller's statement. Where another session has it, that one is about to lead.
CREATE OR REPLACE FUNCTION take_lead(role text)
RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    leader leaders;
BEGIN
    SELECT * INTO leader FROM leaders l WHERE l.role = take_lead.role;
    IF holds_lock(leader.pid, leader.login, leader.lock) THEN
        RETURN leader.pid = pg_backend_pid();
    END IF;
    SELECT * INTO leader FROM leaders l WHERE l.role = take_lead.role FOR UPDATE SKIP LOCKED;
    PERFORM pg_stat_clear_snapshot();  -- the session of a new leader may be younger than the list of sessions
    IF NOT FOUND OR holds_lock(leader.pid, leader.login, leader.lock) OR former_leads(role) THEN
        RETURN false;
    END IF;
    leader.lock := hashtextextended(gen_random_uuid()::text, 0);
    PERFORM pg_advisory_lock(leader.lock);
    UPDATE leaders l
    SET pid = a.pid, login = a.usename, lock = leader.lock, since = clock_timestamp()
    FROM pg_stat_activity a
    WHERE l.role = take_lead.role AND a.pid = pg_backend_pid();
    RETURN true;
END
$$;
