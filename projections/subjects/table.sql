CREATE TABLE subjects (
    stream         text        NOT NULL,
    -- The ledger position of the first event about the subject.
    id             bigint      NOT NULL,
    name           text        NOT NULL,
    -- human, agent or service; null for a subject that was suspended and never registered.
    kind           text,
    display_name   text,
    roles          text[]      NOT NULL,
    -- For each role: until, clients, who granted it, and the position of that event.
    grants         jsonb       NOT NULL,
    groups         text[]      NOT NULL,
    suspended      boolean     NOT NULL,
    -- The last suspension, even if the subject was resumed since.
    suspended_at   timestamptz,
    suspended_by   text,
    suspend_reason text,
    -- The last resumption, even if the subject was suspended since.
    resumed_at     timestamptz,
    resumed_by     text,
    resume_reason  text,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);
