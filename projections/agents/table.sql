CREATE TABLE agents (
    stream         text        NOT NULL,
    name           text        NOT NULL,
    -- The ledger position of the first event about it.
    id             bigint      NOT NULL,
    suspended      boolean     NOT NULL,
    -- Of the last suspension, also when the agent was resumed since.
    suspended_at   timestamptz,
    suspended_by   text,
    suspend_reason text,
    -- Of the last resumption, also when the agent was suspended since.
    resumed_at     timestamptz,
    resumed_by     text,
    resume_reason  text,
    -- The last one registered.
    answer_schema  text,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);
