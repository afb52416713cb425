-- Rows that differ between two relations of one read model: id, what is wrong with `actual`, stream. *= compares the
-- bytes of all columns. That is far quicker than comparing by type, and as good: the same expressions made both sides.
SELECT coalesce(expected.id, actual.id),
       CASE WHEN actual.id IS NULL THEN 'missing' WHEN expected.id IS NULL THEN 'unexpected' ELSE 'differs' END,
       coalesce(expected.stream, actual.stream)
FROM ({expected}) expected
FULL JOIN ({actual}) actual ON actual.id = expected.id
WHERE (expected *= actual) IS NOT TRUE
ORDER BY 1
