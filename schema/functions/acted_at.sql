-- Returns when an event took place, by its body as text: see occurred_at(). Somebody may have changed the body, so nothing here
-- fails: of a body that is no JSON it is the time at which it was recorded. The program of the auditor says the same
-- (ledger/proof/format/act_time.py).
CREATE OR REPLACE FUNCTION acted_at(body text, recorded_at timestamptz)
RETURNS timestamptz
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    IF strpos(body, '"backfill":{') = 0 THEN
        RETURN recorded_at;
    END IF;
    RETURN occurred_at(body::jsonb->'backfill', recorded_at);
EXCEPTION WHEN data_exception THEN
    RETURN recorded_at;
END
$$;
