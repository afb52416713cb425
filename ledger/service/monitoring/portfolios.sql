-- The streams of all portfolios that were defined up to a position, each with the salt of its client in its first event:
-- null once it was erased. In the order of code points. LATERAL with LIMIT looks each of them up, so that the rest of
-- the ledger is not read.
SELECT d.stream, f.salt
FROM (
    SELECT DISTINCT stream FROM events
    WHERE type = 'portfolio.defined' AND position <= %(upto)s AND (stream LIKE 'portfolio-%%') IS TRUE
) d
CROSS JOIN LATERAL (
    SELECT s.salts->>'client_id' AS salt
    FROM events e
    LEFT JOIN sealed_fields s ON s.position = e.position
    WHERE e.stream = d.stream AND e.version = 1
    LIMIT 1
) f
ORDER BY d.stream COLLATE "C"
