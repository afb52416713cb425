SELECT e.position FROM events e
WHERE e.position > %(after)s AND e.position <= %(upto)s
  AND e.prev_hash IS DISTINCT FROM (SELECT b.hash FROM events b WHERE b.position = e.position - 1)
  AND e.position > 1
ORDER BY e.position LIMIT 1
