-- Extends the claims that this worker still has on these requests, by the lease from now. Claims of other workers stay as
-- they are. Also used to postpone a request: no worker takes it before the lease ends.
CREATE OR REPLACE FUNCTION hold_claims(worker text, lease interval, requests bigint[])
RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    UPDATE request_claims c
    SET expires_at = clock_timestamp() + lease, renewed_at = clock_timestamp()
    WHERE c.request_id = ANY (requests) AND c.worker = hold_claims.worker
$$;
