-- The positions of the events in all streams of a client that took place within a window of time, the first ones after a position.
-- An end that is null is no limit.
SELECT e.position
FROM events e
WHERE e.stream = ANY (ARRAY(SELECT c.stream FROM stream_clients c WHERE c.client_id = ANY (%(client_ids)s) AND c.position <= %(upto)s))
  AND e.position BETWEEN %(first)s AND %(last)s
  AND tstzrange(%(start)s, %(end)s) @> acted_at(e.body, e.recorded_at)
ORDER BY e.position
LIMIT %(limit)s
