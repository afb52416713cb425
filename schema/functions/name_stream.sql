-- Writes the numbered name of a new stream into a canonical body, whose last two members are "stream" and "type".
-- Works on bytes: cutting text by characters would read all of it.
CREATE OR REPLACE FUNCTION name_stream(body text, category text, type text, stream text)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    tail  bytea   := convert_to(format('"stream":"%s","type":"%s"}', category, type), 'UTF8');
    whole bytea   := convert_to(body, 'UTF8');
    kept  integer := octet_length(whole) - octet_length(tail);
BEGIN
    IF kept < 0 OR substring(whole FROM kept + 1) <> tail THEN
        PERFORM refuse_append('AL001', 'the body does not end with "stream" and "type"', NULL, NULL, category);
    END IF;
    RETURN convert_from(substring(whole FROM 1 FOR kept), 'UTF8') || format('"stream":"%s","type":"%s"}', stream, type);
END
$$;
