-- Trigger function: sealed values are deleted only if an event says that their stream is erased.
CREATE OR REPLACE FUNCTION check_values_erased()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF EXISTS (
        SELECT FROM deleted d
        WHERE NOT EXISTS (
            SELECT FROM events e JOIN erased_streams x ON x.stream = e.stream
            WHERE e.position = d.position AND d.position < x.position
        )
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'AL006',
            MESSAGE = format('delete on %s is refused: recorded rows do not change, and no event says that these are erased',
                             TG_TABLE_NAME);
    END IF;
    RETURN NULL;
END
$$;
