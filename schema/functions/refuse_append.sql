-- Raises a refusal of append(). DETAIL is JSON with the line of the caller and the expected and actual state.
CREATE OR REPLACE FUNCTION refuse_append(
    code text, reason text, line bigint DEFAULT NULL, id uuid DEFAULT NULL, stream text DEFAULT NULL, expected text DEFAULT NULL, actual bigint DEFAULT NULL
)
RETURNS text
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = code,
        MESSAGE = reason,
        DETAIL = json_strip_nulls(json_build_object(
            'line', line, 'id', id, 'stream', stream, 'expected', expected, 'actual', actual))::text;
END
$$;
