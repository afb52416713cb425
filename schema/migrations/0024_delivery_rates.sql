-- When messages were sent to each endpoint within the last hour, the oldest first, so that none gets more than it takes.
-- It is no part of the chain. Only take_delivery_slot() writes here.
CREATE TABLE delivery_rates (
    endpoint text          PRIMARY KEY CHECK (endpoint ~ '^[a-z][a-z0-9-]{0,99}$'),
    sent_at  timestamptz[] NOT NULL
);
