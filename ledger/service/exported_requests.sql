-- The newest requests of the client that a stream belongs to, as a JSON list, and how many streams the client has.
SELECT coalesce(json_agg(newest.id ORDER BY newest.id DESC) FILTER (WHERE newest.id IS NOT NULL), '[]'),
       (SELECT count(*) FROM stream_clients c WHERE c.client_id = o.client_id)
FROM stream_clients o
LEFT JOIN LATERAL (
    SELECT stream_number(c.stream, 'request-') AS id
    FROM stream_clients c
    WHERE c.client_id = o.client_id AND stream_number(c.stream, 'request-') IS NOT NULL
    ORDER BY 1 DESC
    LIMIT %s
) newest ON true
WHERE o.stream = %s
GROUP BY o.client_id
