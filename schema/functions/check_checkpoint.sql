-- Trigger function: a checkpoint is a note of this ledger over the number of events in `size`, all of which are recorded,
-- with one signature in the name of the ledger. Whether the signature holds, only somebody with the key can tell.
CREATE OR REPLACE FUNCTION check_checkpoint()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    form  constant text := E'^([^\\n]+)\\n([0-9]+)\\n[A-Za-z0-9+/]{43}=\\n\\n— ([^ \\n]+) [A-Za-z0-9+/]{91}=\\n$';
    parts text[] := regexp_match(NEW.note, form);
BEGIN
    IF parts IS NULL OR NOT EXISTS (
        SELECT FROM head h
        WHERE h.origin = parts[1] AND h.origin = parts[3] AND parts[2] = NEW.size::text AND NEW.size <= h.position
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'AL011',
            MESSAGE = 'the checkpoint is refused: it is no note of this ledger over that many events';
    END IF;
    RETURN NEW;
END
$$;
