-- If an endpoint has had so many messages within an hour: the seconds until the first of them is an hour ago.
SELECT extract(epoch FROM d.attempted_at + interval '1 hour' - clock_timestamp())
FROM deliveries d
WHERE d.endpoint = %(endpoint)s AND d.attempted_at > clock_timestamp() - interval '1 hour'
ORDER BY d.attempted_at DESC
OFFSET %(most)s - 1
LIMIT 1
