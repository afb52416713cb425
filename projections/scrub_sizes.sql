-- The bytes of each table with its indexes. Parameter: their names.
SELECT n.name, pg_total_relation_size(to_regclass(quote_ident(n.name)))
FROM unnest(%s::text[]) WITH ORDINALITY AS n (name, nth)
WHERE to_regclass(quote_ident(n.name)) IS NOT NULL
ORDER BY n.nth
