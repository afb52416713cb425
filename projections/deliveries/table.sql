CREATE TABLE deliveries (
    stream       text        NOT NULL,
    -- The number of the message.
    id           bigint      NOT NULL,
    run          bigint      NOT NULL,
    -- The name of the endpoint.
    endpoint     text        NOT NULL,
    -- The positions of the decisions that it tells.
    decisions    jsonb       NOT NULL,
    -- Waiting, sending, delivered, withheld or failed.
    state        text        NOT NULL,
    -- Of the last attempt, while nothing came after it: what became of it, why, and the status of the response.
    outcome      text,
    reason       text,
    status       bigint,
    -- How often it was sent, and asked for: by the run, and by people since.
    attempts     bigint      NOT NULL,
    round        bigint      NOT NULL,
    attempted_at timestamptz,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);
