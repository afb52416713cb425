-- The queued requests: how many, and for how many seconds the oldest has waited.
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
FROM portfolio_requests
WHERE status = 'queued' AND isfinite(created_at)
