-- Parses a batch of append(text) into one row for each line. "fault" says what is wrong with the line; "opens" is true if
-- its commitments open. Reads no table.
CREATE OR REPLACE FUNCTION parse_batch(batch text)
RETURNS TABLE (line bigint, body text, expected text, salts json, fields json, preconditions json, id uuid, stream text, type text, schema text, sealed json, fault text, opens boolean)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT l.line, e.body::text, e.expected, e.salts, e.fields, e.preconditions,
           b.id, b.stream, b.type, b.schema::text, b.sealed,
           CASE
               WHEN b.id IS NULL OR b.stream IS NULL OR b.type IS NULL OR e.expected IS NULL
                   THEN 'body.id, body.stream, body.type and expected are required'
               WHEN (b.sealed IS NULL) <> (e.fields IS NULL)
                   THEN 'sealed values require commitments in the body, and commitments require sealed values'
               -- Folds read jsonb, which takes less than json: the casts fail on U+0000 and on numbers without end.
               WHEN jsonb_typeof(e.body::jsonb) <> 'object' OR jsonb_typeof(e.fields::jsonb) <> 'object'
                   THEN 'the body and the sealed values are objects'
           END,
           b.sealed IS NULL OR e.fields IS NULL OR commitments_open(b.sealed, e.salts, e.fields)
    FROM string_to_table(batch, E'\n') WITH ORDINALITY AS l (text, line),
         json_to_record(l.text::json) AS e (body json, expected text, salts json, fields json, preconditions json),
         json_to_record(e.body) AS b (id uuid, stream text, type text, schema json, sealed json)
$$;
