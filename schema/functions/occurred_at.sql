-- Returns when an event took place: the time that its member "backfill" names, or else the time at which it was recorded.
-- A fold must not fail on a member that is something else. So the day is added to the first of the month: a day that the
-- month does not have is one of the next month. Inlined.
CREATE OR REPLACE FUNCTION occurred_at(backfill jsonb, recorded_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN backfill->>'occurred_at' ~ '^(1[6-9]|2[0-9])[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?Z$'
                THEN (left(backfill->>'occurred_at', 8) || '01' || substr(backfill->>'occurred_at', 11))::timestamptz
                     + make_interval(days => substr(backfill->>'occurred_at', 9, 2)::integer - 1)
                ELSE recorded_at END
$$;
