-- Trigger function: head only moves forward, to the newest event, and never changes its ledger.
CREATE OR REPLACE FUNCTION check_head()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF NEW.origin <> OLD.origin OR NEW.position <= OLD.position OR NOT EXISTS (
        SELECT FROM events e
        WHERE e.position = NEW.position AND e.hash = NEW.hash AND e.recorded_at = NEW.recorded_at
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'AL006',
            MESSAGE = 'update on head is refused: it follows the newest event and nothing else';
    END IF;
    RETURN NEW;
END
$$;
