-- The streams that a read model has set aside as of a position (null: now), of one stream or one client if given: the
-- first of them, and how many there are.
SELECT s.stream, s.position, s.sqlstate, count(*) OVER ()
FROM streams_set_aside s
WHERE s.read_model = %(read_model)s
  AND (%(upto)s::bigint IS NULL OR s.position <= %(upto)s)
  AND (%(stream)s::text IS NULL OR s.stream = %(stream)s)
  AND (%(client_id)s::text[] IS NULL
       OR EXISTS (SELECT FROM stream_clients c WHERE c.stream = s.stream AND c.client_id = ANY (%(client_id)s)))
ORDER BY s.position
LIMIT 1
