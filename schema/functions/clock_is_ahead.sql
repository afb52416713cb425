-- True if the database's clock has jumped ahead: "moment" is more than five minutes after both the last event and the time
-- at which the application sent the batch. Times never go back, so one event with a time in the future would give that
-- time to all later ones. Without a time of the application nothing is known, and it is false.
CREATE OR REPLACE FUNCTION clock_is_ahead(moment timestamptz, last timestamptz, sent timestamptz)
RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
    SELECT coalesce(moment > greatest(last, sent) + interval '5 minutes', false) AND sent IS NOT NULL
$$;
