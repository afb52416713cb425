-- Select the name of the ledger, and its last event; no row if there is no ledger, or if somebody deleted the head.
SELECT origin, position, hash, CASE WHEN isfinite(recorded_at) THEN recorded_at END FROM head
