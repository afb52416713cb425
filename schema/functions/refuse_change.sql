-- Trigger function: what is recorded does not change. Fires for everybody, the owner included.
CREATE OR REPLACE FUNCTION refuse_change()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'AL006',
        MESSAGE = format('%s on %s is refused: what is recorded does not change', lower(TG_OP), TG_TABLE_NAME);
END
$$;
