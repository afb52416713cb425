-- Writes the numbered name of a new stream into a canonical body, whose last two members are "stream" and "type".
CREATE OR REPLACE FUNCTION name_stream(body text, category text, type text, stream text)
RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE WHEN right(body, length(tail)) = tail
                THEN left(body, -length(tail)) || format('"stream":"%s","type":"%s"}', stream, type)
                ELSE refuse_append('AL001', 'the body does not end with "stream" and "type"', NULL, NULL, category)
           END
    FROM format('"stream":"%s","type":"%s"}', category, type) AS tail
$$;
