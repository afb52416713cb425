-- Select the versions behind a position that do not follow the version before in their stream, or whose position is
-- not later. This takes one probe of the index for each event.
COPY (
    SELECT e.position, e.stream, e.version, coalesce(before.version, 0), coalesce(before.position, 0)
    FROM events e
    LEFT JOIN LATERAL (
        SELECT p.version, p.position FROM events p
        WHERE p.stream = e.stream AND p.version < e.version
        ORDER BY p.version DESC LIMIT 1
    ) before ON true
    WHERE e.position > {after}
      AND (e.version <> coalesce(before.version, 0) + 1 OR before.position >= e.position)
    ORDER BY e.position
) TO STDOUT (FORMAT BINARY)
