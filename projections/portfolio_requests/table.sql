CREATE TABLE portfolio_requests (
    stream            text           NOT NULL,
    id                bigint         NOT NULL PRIMARY KEY,
    -- Null once the client's sealed values are erased; so are objectives and notes.
    client_id         text,
    risk_profile      text           NOT NULL,
    amount_usd        numeric(14, 2) NOT NULL,
    horizon_years     integer,
    objectives        jsonb,
    constraints       jsonb,
    notes             text,
    status            text           NOT NULL,
    recommendation_id bigint,
    failure_reason    text,
    failure_detail    text,
    requested_by      text           NOT NULL,
    created_at        timestamptz    NOT NULL,
    updated_at        timestamptz    NOT NULL
);
CREATE INDEX portfolio_requests_client_id_idx ON portfolio_requests (client_id, id);
CREATE INDEX portfolio_requests_stream_idx ON portfolio_requests (stream);
CREATE INDEX portfolio_requests_queued_idx ON portfolio_requests (id) WHERE status = 'queued';
CREATE INDEX portfolio_requests_created_at_idx ON portfolio_requests (created_at);
