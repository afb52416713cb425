CREATE TABLE portfolio_requests (
    stream            text           NOT NULL,
    id                bigint         NOT NULL,
    -- Null once the client's sealed values are erased. So are objectives, notes and failure_detail.
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
