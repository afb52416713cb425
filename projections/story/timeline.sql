-- The positions of the events in all streams of a client, within a range, the first ones.
SELECT e.position
FROM events e
WHERE e.stream = ANY (ARRAY(SELECT c.stream FROM stream_clients c WHERE c.client_id = ANY (%(client_ids)s) AND c.position <= %(upto)s))
  AND e.position BETWEEN %(first)s AND %(last)s
ORDER BY e.position
LIMIT %(limit)s
