-- Records that a person adopted a checkpoint, and lets append() record again: both or neither. The batch is as for
-- append(), with events of this one type: the signer's role may record no others. Returns the position.
CREATE OR REPLACE FUNCTION adopt_checkpoint(batch text)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
BEGIN
    IF EXISTS (
        SELECT FROM parse_batch(batch) l
        WHERE l.type IS DISTINCT FROM 'log-checkpoint.adopted' OR l.stream IS DISTINCT FROM 'policy-log-checkpoint'
    ) THEN
        PERFORM refuse_append('AL001', 'adopt_checkpoint() records log-checkpoint.adopted in policy-log-checkpoint only');
    END IF;
    UPDATE head SET stopped = NULL WHERE stopped IS NOT NULL;
    RETURN (SELECT max(a.position) FROM append(batch) a);
END
$$;
