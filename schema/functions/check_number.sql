-- Trigger function: the last number of a category only grows, to the number of an existing stream.
CREATE OR REPLACE FUNCTION check_number()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF NEW.category <> OLD.category OR NEW.last <= OLD.last
       OR NOT EXISTS (SELECT FROM events e WHERE e.stream = NEW.category || NEW.last)
    THEN
        RAISE EXCEPTION USING
            ERRCODE = 'AL006',
            MESSAGE = 'update on stream_numbers is refused: it follows the newest stream of its category and nothing else';
    END IF;
    RETURN NEW;
END
$$;
