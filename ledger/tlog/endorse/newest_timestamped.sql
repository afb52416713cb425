-- Select the newest checkpoint, whether the authority timestamped it, and the age in seconds of the authority's newest
-- token.
SELECT c.size, c.note, t.size IS NOT NULL,
       (SELECT extract(epoch FROM clock_timestamp() - max(l.created_at))::float8
        FROM (SELECT created_at FROM checkpoint_timestamps WHERE authority = %(authority)s
              ORDER BY size DESC LIMIT 1) l)
FROM (SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1) c
LEFT JOIN checkpoint_timestamps t ON t.size = c.size AND t.authority = %(authority)s
