-- Records that a person adopted a checkpoint, and lets append() record again: both or neither. The parameters are
-- those of append() for one event with one sealed value. The signer's role can record no other type in no other stream.
-- Returns the position.
CREATE OR REPLACE FUNCTION adopt_checkpoint(
    head text, id uuid, schema integer, salt bytea, reason text, sent_us bigint,
    recorder bytea, session bytea, serial bigint, signature bytea, digests bytea)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
BEGIN
    UPDATE head SET stopped = NULL WHERE stopped IS NOT NULL;
    RETURN (SELECT a.positions[1] FROM append(
        ARRAY[head], ARRAY[id], ARRAY['policy-log-checkpoint'], ARRAY['log-checkpoint.adopted'], ARRAY[schema], ARRAY['any'], NULL,
        ARRAY[1], ARRAY['reason'], ARRAY[salt], ARRAY[reason], sent_us,
        NULL, recorder, session, serial, signature, digests) a);
END
$$;
