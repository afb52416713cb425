-- Keeps this worker's claims for so much longer: those of its requests that it still has. Another worker's stay as they
-- are. Also how a request is left for later: nobody takes it before that time.
CREATE OR REPLACE FUNCTION hold_claims(worker text, lease interval, requests bigint[])
RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
    UPDATE request_claims c
    SET expires_at = clock_timestamp() + lease
    WHERE c.request_id = ANY (requests) AND c.worker = hold_claims.worker
$$;
