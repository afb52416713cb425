-- The highest number in use in a category that append() has given no number in yet: its streams may have come with
-- numbers of their own. It looks through all streams, once in the life of a category.
CREATE OR REPLACE FUNCTION last_number(category text)
RETURNS bigint
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(max(stream_number(e.stream, category)), 0)
    FROM events e
    WHERE e.version = 1 AND starts_with(e.stream, category)
$$;
