-- The queued requests that an agent may claim or has claimed, the oldest first. A claim holds as claim_requests() says; one
-- that was made before the request was answered and queued again does not.
SELECT r.id, r.created_at, c.request_id IS NOT NULL AS claimed, c.expires_at
FROM portfolio_requests r
LEFT JOIN request_claims c ON c.request_id = r.id
    AND c.expires_at > clock_timestamp()
    AND c.renewed_at <= clock_timestamp() + %(longest_s)s * interval '1 second'
    AND c.after_recommendation >= coalesce(r.recommendation_id, 0)
WHERE r.status = 'queued' AND NOT r.imported AND r.id > %(after)s AND (c.worker IS NULL OR c.worker = %(agent)s)
ORDER BY r.id
LIMIT %(limit)s
