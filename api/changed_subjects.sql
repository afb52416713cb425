-- The position of the head, and the streams that say something new about subjects after a position: none if it is null,
-- which is the first look. Few events come between two looks, so they are read by position.
SELECT h.position,
       ARRAY(SELECT DISTINCT e.stream FROM events e
             WHERE e.position > %s AND e.position <= h.position AND e.type = ANY (%s))
FROM head h
