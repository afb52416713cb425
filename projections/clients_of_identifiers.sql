-- The numbers that these identifiers have. A stream such as client-01, which no command makes, has none.
SELECT n.number
FROM stream_clients c
CROSS JOIN LATERAL (SELECT stream_number(c.stream, 'client-') AS number) n
WHERE c.client_id = ANY (%s) AND n.number IS NOT NULL
