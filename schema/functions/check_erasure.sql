-- Trigger function: a row of erased_streams names an event that erases its stream.
CREATE OR REPLACE FUNCTION check_erasure()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM events e WHERE e.position = NEW.position AND e.stream = NEW.stream
                   AND e.type IN ('client.erased', 'values.erased'))
    THEN
        RAISE EXCEPTION USING ERRCODE = 'AL006', MESSAGE = 'insert on erased_streams is refused: no event erases this stream';
    END IF;
    RETURN NEW;
END
$$;
