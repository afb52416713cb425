-- Trigger function: head only moves forward, to the newest event, and never changes its ledger. Alone, "stopped" may change.
CREATE OR REPLACE FUNCTION check_head()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF NEW.stopped IS DISTINCT FROM OLD.stopped
       AND (NEW.origin, NEW.position, NEW.hash, NEW.recorded_at) = (OLD.origin, OLD.position, OLD.hash, OLD.recorded_at)
    THEN
        RETURN NEW;
    END IF;
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
