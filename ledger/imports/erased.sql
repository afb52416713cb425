-- Select those of these streams that are erased: they accept no further event.
SELECT s.stream
FROM unnest(%(streams)s::text[]) AS s (stream)
WHERE (SELECT e.type FROM events e WHERE e.stream = s.stream ORDER BY e.version DESC LIMIT 1)
      IN ('client.erased', 'values.erased')
