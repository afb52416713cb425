-- Select the versions that do not follow the version before in their stream, or whose position is not later. This is
-- slow, so it runs only if such versions exist.
COPY (
    SELECT position, stream, version, coalesce(before, 0), coalesce(at, 0)
    FROM (
        SELECT position, stream, version, lag(version) OVER history AS before, lag(position) OVER history AS at
        FROM events
        WINDOW history AS (PARTITION BY stream ORDER BY version, position)
    ) e
    WHERE version IS DISTINCT FROM coalesce(before, 0) + 1 OR position < at
    ORDER BY position
) TO STDOUT (FORMAT BINARY)
