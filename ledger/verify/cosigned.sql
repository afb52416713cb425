-- Select the newest of the last thousand checkpoints that has at least the given number of cosignatures, with these.
SELECT c.note || string_agg(s.line, '' ORDER BY s.witness)
FROM (SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1000) c
JOIN cosignatures s ON s.size = c.size
GROUP BY c.size, c.note
HAVING count(*) >= %s
ORDER BY c.size DESC LIMIT 1
