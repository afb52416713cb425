-- The checkpoint to export with: of those that are large enough the one with most cosignatures, of these one with a
-- timestamp, the newest; where none is large enough, the newest. With its cosignatures. Older ones than the last
-- thousand are not looked at.
SELECT c.size, c.note || coalesce(string_agg(s.line, '' ORDER BY s.witness), '')
FROM (SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1000) c
LEFT JOIN cosignatures s ON s.size = c.size
GROUP BY c.size, c.note
ORDER BY c.size >= %(last)s DESC,
         CASE WHEN c.size >= %(last)s THEN count(s.line) END DESC NULLS LAST,
         c.size >= %(last)s AND EXISTS (SELECT FROM checkpoint_timestamps t WHERE t.size = c.size) DESC,
         c.size DESC
LIMIT 1
