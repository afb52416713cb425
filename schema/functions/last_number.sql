-- Returns the highest number in use in a category in which append() has not assigned a number yet: callers may have named
-- its streams themselves. Reads all streams, once for each category.
CREATE OR REPLACE FUNCTION last_number(category text)
RETURNS bigint
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(max(stream_number(e.stream, category)), 0)
    FROM events e
    WHERE e.version = 1 AND starts_with(e.stream, category)
$$;
