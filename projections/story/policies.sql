-- The policies in force as of a position: of each the text that was adopted last.
SELECT e.position, e.recorded_at, e.body::jsonb->'data' AS data
FROM (
    SELECT DISTINCT ON (stream) id
    FROM event_index
    WHERE type = 'policy.adopted' AND id <= %s
    ORDER BY stream, id DESC
) adopted
JOIN events e ON e.position = adopted.id
ORDER BY e.position
