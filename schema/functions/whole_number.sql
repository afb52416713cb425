-- Returns the number that a text is, or null: a fold must not fail on a member that is something else. Inlined.
CREATE OR REPLACE FUNCTION whole_number(value text)
RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN value ~ '^-?[0-9]{1,18}$' THEN value::bigint END
$$;
