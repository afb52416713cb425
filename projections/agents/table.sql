CREATE TABLE agents (
    stream         text        NOT NULL,
    name           text        NOT NULL,
    -- The ledger position of the first event about the agent.
    id             bigint      NOT NULL,
    suspended      boolean     NOT NULL,
    -- The last suspension, even if the agent was resumed since.
    suspended_at   timestamptz,
    suspended_by   text,
    suspend_reason text,
    -- The last resumption, even if the agent was suspended since.
    resumed_at     timestamptz,
    resumed_by     text,
    resume_reason  text,
    -- The answer schema that was registered last.
    answer_schema  text,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);
