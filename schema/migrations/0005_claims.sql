-- A request may come back to the queue after a response. A claim is on one asking: on the request as it was with this
-- recommendation before it, 0 for none.
ALTER TABLE request_claims ADD COLUMN after_recommendation bigint NOT NULL DEFAULT 0;
