-- Takes up to "most" queued requests for this worker until the lease runs out; a claim that ran out is anybody's again,
-- and so is one from before the request was answered and came back. "attempt" counts the claims of one asking, the first
-- being 1. Two workers at once: the second waits for the first one's row and then finds it taken.
CREATE OR REPLACE FUNCTION claim_requests(worker text, lease interval, most integer)
RETURNS TABLE (request_id bigint, attempt integer)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
-- The plan may be older than the table is large: probes by index stay right.
SET enable_seqscan = off
AS $$
    DELETE FROM request_claims c
    WHERE (SELECT r.status FROM portfolio_requests r WHERE r.id = c.request_id) <> 'queued';

    INSERT INTO request_claims AS held (request_id, worker, expires_at, after_recommendation)
    SELECT r.id, claim_requests.worker, clock_timestamp() + lease, coalesce(r.recommendation_id, 0)
    FROM portfolio_requests r
    WHERE r.status = 'queued'
      AND NOT EXISTS (
          SELECT FROM request_claims c
          WHERE c.request_id = r.id AND c.expires_at > clock_timestamp()
            AND c.after_recommendation = coalesce(r.recommendation_id, 0))
    ORDER BY r.id
    LIMIT most
    ON CONFLICT (request_id) DO UPDATE
        SET worker = excluded.worker, expires_at = excluded.expires_at,
            attempt = CASE WHEN held.after_recommendation = excluded.after_recommendation THEN held.attempt + 1 ELSE 1 END,
            after_recommendation = excluded.after_recommendation
        WHERE held.expires_at <= clock_timestamp() OR held.after_recommendation <> excluded.after_recommendation
    RETURNING held.request_id, held.attempt
$$;
