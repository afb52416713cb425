-- Returns the words of a text in their order, with one space between, and null if there is none. Scripts without spaces give pairs of letters: of three letters
-- in a row the first two, the last two, and the last. What is asked for leaves that last letter out, unless it is alone, so
-- that what is asked for follows letter by letter in a text that has it. ascii() is the code point.
CREATE OR REPLACE FUNCTION search_tokens(value text, asked boolean)
RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    letters text := nullif(btrim(search_letters(value)), '');
BEGIN
    IF letters !~ E'[\u0E00-\u0EFF\u0F00-\u109F\u1780-\u17FF\u3005-\u31FF\u3400-\u9FFF\uAC00-\uD7AF\uF900-\uFAFF\U00020000-\U0003FFFF]' THEN
        RETURN letters;
    END IF;
    RETURN (
        SELECT nullif(btrim(regexp_replace(string_agg(
                   CASE WHEN NOT spaceless THEN letter
                        WHEN following THEN ' ' || letter || next || ' '
                        WHEN asked AND previous THEN ' '
                        ELSE ' ' || letter || ' ' END, '' ORDER BY n), ' +', ' ', 'g')), '')
        FROM (
            SELECT n, letter, spaceless,
                   lead(letter) OVER w AS next,
                   coalesce(lead(spaceless) OVER w, false) AS following,
                   coalesce(lag(spaceless) OVER w, false) AS previous
            FROM (
                SELECT n, letter,
                       ascii(letter) BETWEEN 3584 AND 4255 OR ascii(letter) BETWEEN 6016 AND 6143
                       OR ascii(letter) BETWEEN 12293 AND 12799 OR ascii(letter) BETWEEN 13312 AND 40959
                       OR ascii(letter) BETWEEN 44032 AND 55215 OR ascii(letter) BETWEEN 63744 AND 64255
                       OR ascii(letter) BETWEEN 131072 AND 262143 AS spaceless
                FROM unnest(string_to_array(letters, NULL)) WITH ORDINALITY each(letter, n)
            ) letters_of
            WINDOW w AS (ORDER BY n)
        ) in_a_row
    );
END
$$;
