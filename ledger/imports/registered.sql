-- Select the streams in which these identifiers of clients are registered.
SELECT c.client_id, c.stream
FROM stream_clients c
WHERE c.client_id = ANY (%(names)s) AND starts_with(c.stream, 'client-')
