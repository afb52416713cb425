-- Select the checkpoints to export, with their cosignatures, the best first. Prefer those that are large enough, then
-- most cosignatures, then the preferred size, then a timestamp, then the newest. If none is large enough, take the
-- newest. Only the newest thousand checkpoints are considered.
SELECT c.size, c.note || coalesce(string_agg(s.line, '' ORDER BY s.witness), '')
FROM (SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1000) c
LEFT JOIN cosignatures s ON s.size = c.size
GROUP BY c.size, c.note
ORDER BY c.size >= %(last)s DESC,
         CASE WHEN c.size >= %(last)s THEN count(s.line) END DESC NULLS LAST,
         c.size = %(preferred)s DESC,
         c.size >= %(last)s AND EXISTS (SELECT FROM checkpoint_timestamps t WHERE t.size = c.size) DESC,
         c.size DESC
