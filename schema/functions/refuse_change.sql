-- Trigger function: recorded rows do not change. Fires for every role, including the owner.
CREATE OR REPLACE FUNCTION refuse_change()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'AL006',
        MESSAGE = format('%s on %s is refused: recorded rows do not change', lower(TG_OP), TG_TABLE_NAME);
END
$$;
