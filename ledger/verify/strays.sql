-- Select the positions that have sealed values but no event.
COPY (
    SELECT s.position
    FROM sealed_fields s
    LEFT JOIN events e ON e.position = s.position
    WHERE e.position IS NULL
    ORDER BY s.position
) TO STDOUT (FORMAT BINARY)
