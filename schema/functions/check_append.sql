-- Finds out whether an append can succeed, and records nothing. It meets what an append meets: it waits for the row of
-- head, its transaction is refused where sessions are read-only, and its commit waits for the disk and for synchronous
-- standbys, as the lock is logged. With "deep" it also writes an event and takes it back: a full disk is noticed there. That
-- leaves dead rows, so it is for a writer whose last append failed.
--
-- Lock: the row of head, to the end of the caller's transaction.
CREATE OR REPLACE FUNCTION check_append(deep boolean)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
DECLARE
    before head;
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    SELECT * INTO STRICT before FROM head FOR UPDATE;
    IF before.stopped IS NOT NULL THEN
        PERFORM refuse_append('AL010', before.stopped);
    END IF;
    IF deep THEN
        BEGIN
            -- So large a body needs new pages.
            INSERT INTO events (position, id, stream, version, type, recorded_at, body, prev_hash, hash)
            VALUES (before.position + 1, gen_random_uuid(), 'check', before.position + 1, 'check', before.recorded_at,
                    repeat('x', 65536), before.hash, before.hash);
            RAISE EXCEPTION USING ERRCODE = 'AL000', MESSAGE = 'taken back';
        EXCEPTION WHEN SQLSTATE 'AL000' THEN
            NULL;
        END;
    END IF;
END
$$;
