-- The streams of all portfolios that were defined up to a position, each with the salt of its client in its first event:
-- null once it was erased. In the order of code points.
SELECT d.stream, s.salts->>'client_id'
FROM (
    SELECT DISTINCT stream FROM events
    WHERE type = 'portfolio.defined' AND stream LIKE 'portfolio-%%' AND position <= %(upto)s
) d
JOIN events e ON e.stream = d.stream AND e.version = 1
LEFT JOIN sealed_fields s ON s.position = e.position
ORDER BY d.stream COLLATE "C"
