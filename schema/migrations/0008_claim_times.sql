-- When the claim was made or renewed. If the clock goes back afterwards, the claim ends far in the future, and this time
-- tells: see claim_requests().
ALTER TABLE request_claims ADD COLUMN renewed_at timestamptz NOT NULL DEFAULT clock_timestamp();
