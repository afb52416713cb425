-- Trigger function: streams leave the index of clients only if an event says that they are erased.
CREATE OR REPLACE FUNCTION check_clients_erased()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF EXISTS (SELECT FROM deleted d WHERE NOT EXISTS (SELECT FROM erased_streams x WHERE x.stream = d.stream)) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'AL006',
            MESSAGE = 'delete on stream_clients is refused: recorded rows do not change, and no event says that these are erased';
    END IF;
    RETURN NULL;
END
$$;
