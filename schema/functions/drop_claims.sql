-- Deletes the claims on requests that were answered or failed since. A read model that lags still shows a request as it was
-- before a response sent it back to the queue: a claim that knows of the newest recommendation stays.
CREATE OR REPLACE FUNCTION drop_claims()
RETURNS void
LANGUAGE sql VOLATILE
SET search_path FROM CURRENT
SET standard_conforming_strings = on
SET enable_seqscan = off
AS $$
    DELETE FROM request_claims c
    WHERE (SELECT r.status = 'failed' OR (r.status <> 'queued' AND r.recommendation_id > c.after_recommendation)
           FROM portfolio_requests r
           WHERE r.id = c.request_id)
$$;
