-- The queued requests that agents are given: how many, and for how many seconds the oldest has waited.
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
FROM portfolio_requests
WHERE status = 'queued' AND NOT imported AND isfinite(created_at)
