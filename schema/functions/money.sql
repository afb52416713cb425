-- Returns the amount of money that a text is, or null: a fold must not fail on a member that is something else. Inlined.
CREATE OR REPLACE FUNCTION money(value text)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN value ~ '^[0-9]{1,12}([.][0-9]{1,2})?$' THEN value::numeric END
$$;
