-- Returns the condition that a text has all words that are asked for; those between two spaces follow each other. The last
-- letters of a word may be open: "diversif*". A letter of a script without spaces that is alone may begin a pair.
CREATE OR REPLACE FUNCTION search_query(asked text)
RETURNS tsquery
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    part text;
    words text;
    condition text := '';
BEGIN
    -- Not STRICT: PostgreSQL does not ask for the right to call a strict function with a null.
    IF asked IS NULL THEN
        RETURN NULL;
    END IF;
    FOREACH part IN ARRAY regexp_split_to_array(asked, '[[:space:]]+') LOOP
        SELECT string_agg('''' || left(word, 500) || '''', ' <-> ' ORDER BY n) INTO words
        FROM unnest(string_to_array(search_tokens(part, true), ' ')) WITH ORDINALITY split(word, n);
        IF words IS NOT NULL THEN
            -- A text of three characters is one letter between its quotes.
            IF part LIKE '%*' OR words ~ E'^.[\u0E00-\u109F\u1780-\u17FF\u3005-\u31FF\u3400-\u9FFF\uAC00-\uD7AF].$' THEN
                words := words || ':*';
            END IF;
            condition := condition || CASE condition WHEN '' THEN '' ELSE ' & ' END || '(' || words || ')';
        END IF;
    END LOOP;
    RETURN condition::tsquery;
END
$$;
