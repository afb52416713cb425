-- The last of the streams that the next events belong to, by stream; and whether there are more.
SELECT max(stream), count(*) = %(events)s
FROM (SELECT stream FROM events WHERE stream > %(after)s ORDER BY stream, version LIMIT %(events)s) part
