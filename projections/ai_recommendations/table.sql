CREATE TABLE ai_recommendations (
    stream         text        NOT NULL,
    -- The ledger position of the event that recorded it.
    id             bigint      NOT NULL,
    request_id     bigint      NOT NULL,
    -- Null once the client's sealed values are erased; so are recommendation and prompt.
    client_id      text,
    recommendation jsonb,
    model_name     text        NOT NULL,
    model_version  text,
    parameters     jsonb,
    prompt         text,
    recorded_by    text        NOT NULL,
    created_at     timestamptz NOT NULL
);
