-- Select the size that each endorser endorsed last, among the newest endorsements: authorities, then witnesses.
SELECT 'witness', s.witness, max(s.size), NULL::float8
FROM (SELECT size, witness FROM cosignatures ORDER BY size DESC LIMIT 10000) s GROUP BY s.witness
UNION ALL
SELECT 'authority', t.authority, t.size, extract(epoch FROM clock_timestamp() - t.created_at)::float8
FROM (SELECT DISTINCT ON (authority) authority, size, created_at
      FROM (SELECT authority, size, created_at FROM checkpoint_timestamps ORDER BY size DESC LIMIT 1000) newest
      ORDER BY authority, size DESC) t
ORDER BY 1, 2
