-- Streams that the index of clients has although none of their events commits to a client, and the position of the first
-- event of each. A pattern, not a cast to jsonb, finds the commitment: a body that somebody changed may be no JSON.
COPY (
    SELECT coalesce(first.position, 0), c.stream
    FROM stream_clients c
    LEFT JOIN events first ON first.stream = c.stream AND first.version = 1
    WHERE NOT EXISTS (
        SELECT FROM events e
        WHERE e.stream = c.stream AND e.body ~ '"sealed":\{[^}]*"client_id":"[0-9a-f]{64}"'
    )
    ORDER BY 1
) TO STDOUT (FORMAT BINARY)
