-- Finds out whether an append can succeed, and records nothing. It meets what an append meets: it waits for the row of
-- head and for the locks on all tables that append() uses, its transaction is refused where sessions are read-only, and its
-- commit waits for the disk and for synchronous standbys, as the lock is logged. With "deep" it also writes a row to each of
-- these tables and takes it back: a full disk is noticed there. That leaves dead rows, so it is for a writer whose last
-- append failed, for one check in half a minute, and for the command status.
--
-- Locks, as append() takes them, to the end of the caller's transaction: the row of head, then the tables.
CREATE OR REPLACE FUNCTION check_append(deep boolean)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
DECLARE
    before head;
    unused text := gen_random_uuid()::text;
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    SELECT * INTO STRICT before FROM head FOR UPDATE;
    IF before.stopped IS NOT NULL THEN
        PERFORM refuse_append('AL010', before.stopped);
    END IF;
    LOCK TABLE events, attestations, sealed_fields, stream_clients, stream_numbers IN ROW EXCLUSIVE MODE;
    LOCK TABLE event_types, recording_keys IN ACCESS SHARE MODE;
    IF deep THEN
        BEGIN
            -- So large a body needs pages of its own.
            INSERT INTO events (position, id, stream, version, type, recorded_at, body, prev_hash, hash)
            VALUES (before.position + 1, gen_random_uuid(), 'check', before.position + 1, 'check', before.recorded_at,
                    repeat('x', 16384), before.hash, before.hash);
            INSERT INTO sealed_fields (position, salts, fields)
            SELECT before.position + 1, '{}', to_json(string_agg(md5(n::text || unused), '')) FROM generate_series(1, 512) n
            ON CONFLICT DO NOTHING; -- a stray row is for the verifier to find
            INSERT INTO stream_clients (stream, client_id, position) VALUES (unused, 'check', before.position + 1);
            INSERT INTO stream_numbers (category, last) VALUES (unused || '-', 1);
            RAISE EXCEPTION USING ERRCODE = 'AL000', MESSAGE = 'taken back';
        EXCEPTION WHEN SQLSTATE 'AL000' THEN
            NULL;
        END;
    END IF;
END
$$;
