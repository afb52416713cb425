-- Select the tables of this ledger that cannot be derived: name, columns, and approximate number of rows. The order is
-- one in which foreign keys allow to fill them.
WITH RECURSIVE tables AS (
    SELECT c.oid, c.relname::text AS name, (
               SELECT sum(greatest(p.reltuples, 0))::bigint FROM pg_class p
               WHERE p.oid = c.oid OR p.oid IN (SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = c.oid)
           ) AS about
    FROM pg_class c
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.relname <> ALL (%(derived)s)
      AND NOT EXISTS (SELECT FROM projections p WHERE p.name = c.relname)
), depths AS (
    SELECT oid, 0 AS depth FROM tables
    UNION
    SELECT f.conrelid, d.depth + 1 FROM depths d JOIN pg_constraint f ON f.contype = 'f' AND f.confrelid = d.oid
)
SELECT t.name,
       ARRAY (SELECT a.attname::text FROM pg_attribute a
              WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
              ORDER BY a.attnum),
       t.about
FROM tables t JOIN depths d USING (oid)
GROUP BY t.oid, t.name, t.about
ORDER BY max(d.depth), t.name
