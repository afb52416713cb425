-- Claims up to "most" queued requests for this worker until the lease ends. Another worker may take a claim whose lease
-- has ended, or that was made before the request was answered and queued again. "attempt" counts the claims since the
-- request was queued, from 1. Of two workers at once, the second waits for the row of the first and then finds it claimed.
--
-- A request that was imported as queued is not claimed: what an agent was asked elsewhere, nobody asks it here.
--
-- A claim that was renewed in the future, by more than a lease, was made before the clock went back. It would hold its
-- request until the clock has caught up, so it counts as ended.
CREATE OR REPLACE FUNCTION claim_requests(worker text, lease interval, most integer)
RETURNS TABLE (request_id bigint, attempt integer)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
-- The plan may have been made for a small table. Index probes are right at any size.
SET enable_seqscan = off
AS $$
    SELECT drop_claims();

    INSERT INTO request_claims AS held (request_id, worker, expires_at, after_recommendation)
    SELECT r.id, claim_requests.worker, clock_timestamp() + lease, coalesce(r.recommendation_id, 0)
    FROM portfolio_requests r
    WHERE r.status = 'queued'
      AND NOT r.imported
      AND NOT EXISTS (
          SELECT FROM request_claims c
          WHERE c.request_id = r.id AND c.expires_at > clock_timestamp()
            AND c.renewed_at <= clock_timestamp() + lease
            AND c.after_recommendation >= coalesce(r.recommendation_id, 0))
    ORDER BY r.id
    LIMIT most
    ON CONFLICT (request_id) DO UPDATE
        SET worker = excluded.worker, expires_at = excluded.expires_at, renewed_at = excluded.renewed_at,
            attempt = CASE WHEN held.after_recommendation = excluded.after_recommendation THEN held.attempt + 1 ELSE 1 END,
            after_recommendation = excluded.after_recommendation
        WHERE held.expires_at <= clock_timestamp() OR held.renewed_at > clock_timestamp() + lease
           OR held.after_recommendation < excluded.after_recommendation
    RETURNING held.request_id, held.attempt
$$;
