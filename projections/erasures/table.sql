CREATE TABLE erasures (
    stream          text        NOT NULL,
    -- The position of the event that requested it.
    id              bigint      NOT NULL,
    -- The number of the client, and its identifier; that is null once it is erased.
    client          bigint      NOT NULL,
    client_id       text,
    -- waiting, refused, declined or erased. One that waits has expired after expires_at.
    state           text        NOT NULL,
    reason          text        NOT NULL,
    reference       text,
    note            text,
    requested_by    text        NOT NULL,
    expires_at      text,
    -- Why it was refused: holds, kept_until, possible_from, retention_class.
    forbidden       jsonb,
    -- The numbers of all identifiers of the client.
    clients         jsonb,
    -- What there was to erase, or was erased.
    streams         bigint,
    events          bigint,
    values          bigint,
    -- The erasure that it does again, after a restore: event, hash, requested_by, erased_by.
    reapplies       jsonb,
    -- Of the event that erased, declined or refused it.
    answer_position bigint,
    answered_by     text,
    answered_at     timestamptz,
    rationale       text,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);
