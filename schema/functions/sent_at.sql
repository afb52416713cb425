-- Returns the time at which the application sent a batch: see append(). NULL if it is not given.
CREATE OR REPLACE FUNCTION sent_at(batch text)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE
AS $$
    SELECT to_timestamp(substring(left(batch, 30) FROM '^[{]"now":([0-9]{1,17}),')::numeric / 1000000)
$$;
