CREATE TABLE event_index (
    stream     text        NOT NULL,
    -- The ledger position of the event.
    id         bigint      NOT NULL,
    version    bigint      NOT NULL,
    type       text        NOT NULL,
    actor      text,
    actor_kind text,
    -- The role in which the actor acted.
    role       text,
    -- The request that the event's stream is about.
    request_id bigint,
    -- The model that was asked, or that recommended.
    model      text,
    -- Of a decision, a confirmation or a replay.
    outcome    text,
    -- Of a request.
    amount_usd numeric,
    created_at timestamptz NOT NULL,
    -- Of an imported event: when it took place, and who imported it.
    occurred_at timestamptz,
    imported_by text
);
