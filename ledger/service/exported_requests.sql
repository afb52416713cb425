-- Select the newest requests of a client with these identifiers, as a JSON list, and the number of the client's
-- streams.
SELECT coalesce((SELECT json_agg(newest.id ORDER BY newest.id DESC)
                 FROM (SELECT stream_number(c.stream, 'request-') AS id
                       FROM stream_clients c
                       WHERE c.client_id = ANY (%(client_ids)s) AND stream_number(c.stream, 'request-') IS NOT NULL
                       ORDER BY 1 DESC
                       LIMIT %(most)s) newest), '[]'),
       (SELECT count(*) FROM stream_clients c WHERE c.client_id = ANY (%(client_ids)s))
