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
    -- When it took place: of an imported event what the import says, of others when it was recorded.
    occurred_at timestamptz NOT NULL,
    -- Of an imported event: the importer.
    imported_by text
);
