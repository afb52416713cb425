CREATE TABLE legal_holds (
    stream         text        NOT NULL,
    -- The position of the event that placed the hold.
    id             bigint      NOT NULL,
    -- The number of the client, and its identifier; that is null once it is erased.
    client         bigint      NOT NULL,
    client_id      text,
    -- The request whose case is held; null if the whole client is.
    request_id     bigint,
    -- active or released
    state          text        NOT NULL,
    reason         text,
    placed_by      text        NOT NULL,
    released_at    timestamptz,
    released_by    text,
    release_reason text,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);
