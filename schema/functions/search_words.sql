-- Returns the words of all texts in a JSON value, with their places; none for null. Names of members are no words. A word has
-- no quote and no backslash (search_letters), and here at most 500 characters. The quotes are for letters that a database may
-- take for spaces.
CREATE OR REPLACE FUNCTION search_words(value jsonb)
RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
    RETURN (
        SELECT coalesce(string_agg('''' || left(word, 500) || ''':' || place, ' '), '')::tsvector
        FROM unnest(string_to_array(
            search_tokens(
                (SELECT string_agg(text #>> '{}', ' ')
                 FROM jsonb_path_query(value, 'strict $.** ? (@.type() == "string")') text), false
            ), ' ')) WITH ORDINALITY words(word, place)
    );
END
$$;
