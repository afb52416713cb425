-- Notes that a message is about to be sent to an endpoint, which takes so many an hour, and returns NULL; or returns the
-- seconds until the next one may be sent. One statement looks and notes, on a row that it locks: two processes never send
-- one more than there may be. A time beyond now is from before the clock went back, and counts as now.
CREATE OR REPLACE FUNCTION take_delivery_slot(endpoint text, most integer)
RETURNS double precision
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
BEGIN
    IF take_delivery_slot.endpoint IS NULL OR most IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO delivery_rates AS known (endpoint, sent_at)
    VALUES (take_delivery_slot.endpoint, ARRAY[clock_timestamp()])
    ON CONFLICT ON CONSTRAINT delivery_rates_pkey DO UPDATE
        SET sent_at = ARRAY(
                SELECT least(s.at, clock_timestamp()) FROM unnest(known.sent_at) WITH ORDINALITY s(at, place)
                WHERE s.at > clock_timestamp() - interval '1 hour'
                ORDER BY s.place) || clock_timestamp()
        WHERE (SELECT count(*) FROM unnest(known.sent_at) s(at) WHERE s.at > clock_timestamp() - interval '1 hour') < most;
    IF FOUND THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT greatest(extract(epoch FROM
            least(r.sent_at[cardinality(r.sent_at) - most + 1], clock_timestamp()) + interval '1 hour' - clock_timestamp()), 0)
        FROM delivery_rates r
        WHERE r.endpoint = take_delivery_slot.endpoint);
END
$$;
