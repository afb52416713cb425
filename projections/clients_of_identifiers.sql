-- The numbers that these identifiers have.
SELECT stream_number(stream, 'client-') FROM stream_clients
WHERE client_id = ANY (%s) AND starts_with(stream, 'client-')
