-- Returns true if the line has the same content as the event at this position. Each attempt draws new salts, so sealed
-- values are compared by opening the recorded commitments with the recorded salts. A numbered stream is compared by its
-- category.
CREATE OR REPLACE FUNCTION is_replay(recorded_at_position bigint, line_body text, line_fields json)
RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT e.body = line_body
           OR ((e.body::jsonb - 'sealed' - 'stream') = (line_body::jsonb - 'sealed' - 'stream')
               AND (e.stream = line_body::json->>'stream'
                    OR regexp_replace(e.stream, '-[0-9]+$', '-') = line_body::json->>'stream')
               AND CASE WHEN e.body::json->'sealed' IS NULL THEN line_fields IS NULL
                        ELSE commitments_open(e.body::json->'sealed', s.salts, line_fields)
                   END)
    FROM events e
    LEFT JOIN sealed_fields s ON s.position = e.position
    WHERE e.position = recorded_at_position
$$;
