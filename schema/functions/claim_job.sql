-- Claims one job of these kinds for this worker until the lease ends: one that waits and may begin, or one whose worker let
-- its lease end. The only way to a job; of two workers at once, each gets another job. "attempt" counts the claims, from 1,
-- and is part of the claim: a worker that lost its lease has an earlier one.
--
-- A lease that was renewed in the future, by more than its length, was made before the clock went back: it has ended.
CREATE OR REPLACE FUNCTION claim_job(worker text, kinds text[], lease interval)
RETURNS TABLE (job bigint, kind text, parameters text, asked_by text, attempt integer, done bigint, total bigint)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    UPDATE jobs j
    SET state = 'running', worker = claim_job.worker, attempt = j.attempt + 1,
        lease_until = clock_timestamp() + lease, renewed_at = clock_timestamp(),
        started_at = coalesce(j.started_at, clock_timestamp())
    WHERE j.id = (
        SELECT o.id FROM jobs o
        WHERE o.state IN ('queued', 'running') AND o.kind = ANY (kinds)
          AND CASE o.state
              WHEN 'queued' THEN o.not_before <= clock_timestamp()
              ELSE o.lease_until <= clock_timestamp() OR o.renewed_at > clock_timestamp() + lease END
        ORDER BY o.not_before, o.id
        LIMIT 1
        FOR UPDATE SKIP LOCKED)
    RETURNING j.id, j.kind, j.parameters, j.asked_by, j.attempt, j.done, j.total
$$;
