CREATE TABLE ai_recommendations (
    stream         text        NOT NULL,
    -- The ledger position of the event that recorded it.
    id             bigint      NOT NULL PRIMARY KEY,
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
CREATE INDEX ai_recommendations_stream_idx ON ai_recommendations (stream);
CREATE INDEX ai_recommendations_request_id_idx ON ai_recommendations (request_id);
CREATE INDEX ai_recommendations_client_id_idx ON ai_recommendations (client_id, id);
CREATE INDEX ai_recommendations_created_at_idx ON ai_recommendations (created_at);
