-- Events and the salts of their sealed values, to open the commitments of what a read model shows of them: those at the
-- positions; and of each stream the first, and those of the types. In order of position.
WITH wanted AS (
    SELECT e.position, e.stream, e.version, e.type, e.body FROM events e WHERE e.position = ANY (%(positions)s)
    UNION ALL
    SELECT e.position, e.stream, e.version, e.type, e.body
    FROM events e
    WHERE e.stream = ANY (%(streams)s) AND (e.version = 1 OR e.type = ANY (%(types)s))
)
SELECT e.position, e.stream, e.version = 1, e.type, e.body, s.salts::text
FROM wanted e
LEFT JOIN sealed_fields s ON s.position = e.position
ORDER BY e.position
