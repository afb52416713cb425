-- Who acted in the cases of these streams: by stream, the subjects of its events of these types. Of an imported event, the
-- one who acted then.
SELECT e.stream, array_agg(DISTINCT coalesce(e.body::jsonb->'backfill', e.body::jsonb)->'actor'->>'id')
FROM events e
WHERE e.stream = ANY (%(streams)s) AND e.type = ANY (%(types)s)
GROUP BY e.stream
