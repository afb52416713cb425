-- Refuses (AL011) a batch without an attestation, or with one by a key that is not in use, once the ledger has a recording
-- key. The signer would sign nothing from there on (docs/operate/recording-keys.md). Called by
-- append() under its lock, and by a writer that wants to know.
CREATE OR REPLACE FUNCTION check_recorder(recorder bytea)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM recording_keys k WHERE k.key = recorder AND k.replaced IS NULL)
       AND EXISTS (SELECT FROM recording_keys)
    THEN
        PERFORM refuse_append('AL011', CASE WHEN recorder IS NULL
            THEN 'this ledger records only what a recording key attests, and this process has none'
            ELSE 'the recording key of this process is not registered in this ledger, or another took its place' END);
    END IF;
END
$$;
