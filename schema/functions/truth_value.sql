-- Returns true or false for the text of either, or null: a fold must not fail on a member that is something else. Inlined.
CREATE OR REPLACE FUNCTION truth_value(value text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE value WHEN 'true' THEN true WHEN 'false' THEN false END
$$;
