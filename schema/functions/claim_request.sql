-- Claims one request for an agent outside of this program, or extends the claim that it has; never shortens it. Returns when
-- the claim ends, or null if another worker or agent has one. "after" is the newest recommendation of the request, 0 for
-- none. The caller knows from the request's own stream that it is queued: the read model may lag.
--
-- A claim ends as claim_requests() says. Of two agents at once, the second waits for the row of the first.
CREATE OR REPLACE FUNCTION claim_request(agent text, lease interval, request bigint, after bigint)
RETURNS timestamptz
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    SELECT drop_claims();

    INSERT INTO request_claims AS held (request_id, worker, expires_at, after_recommendation)
    VALUES (request, agent, clock_timestamp() + lease, after)
    ON CONFLICT (request_id) DO UPDATE
        SET worker = excluded.worker, renewed_at = excluded.renewed_at,
            expires_at = CASE WHEN held.worker = agent AND held.renewed_at <= clock_timestamp()
                              THEN greatest(held.expires_at, excluded.expires_at) ELSE excluded.expires_at END,
            attempt = CASE WHEN held.after_recommendation < excluded.after_recommendation THEN 1
                           WHEN held.worker = agent AND held.expires_at > clock_timestamp() THEN held.attempt
                           ELSE held.attempt + 1 END,
            after_recommendation = excluded.after_recommendation
        WHERE held.after_recommendation <= excluded.after_recommendation
          AND (held.worker = agent OR held.expires_at <= clock_timestamp()
               OR held.renewed_at > clock_timestamp() + lease
               OR held.after_recommendation < excluded.after_recommendation)
    RETURNING held.expires_at
$$;
