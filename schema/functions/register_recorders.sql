-- Adds the recording keys that the events at these positions register, and marks those that they replace. Called by
-- append() under its lock. Refuses (AL011) a first key that another one attests, or none.
CREATE OR REPLACE FUNCTION register_recorders(first bigint, last bigint, recorder bytea)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM recording_keys) AND NOT EXISTS (
        SELECT FROM events e
        WHERE e.position BETWEEN first AND last AND e.stream = 'recording-keys'
          AND verifier_key_bytes(e.body::json->'data'->>'key') = recorder)
    THEN
        PERFORM refuse_append('AL011', 'the first recording key of a ledger attests its own registration');
    END IF;
    UPDATE recording_keys k SET replaced = e.position
    FROM events e
    WHERE e.position BETWEEN first AND last AND e.stream = 'recording-keys'
      AND k.key = verifier_key_bytes(e.body::json->'data'->>'replaces') AND k.replaced IS NULL;
    INSERT INTO recording_keys (key, registered)
    SELECT verifier_key_bytes(e.body::json->'data'->>'key'), e.position
    FROM events e
    WHERE e.position BETWEEN first AND last AND e.stream = 'recording-keys'
    ON CONFLICT (key) DO NOTHING;
END
$$;
