CREATE TABLE portfolio_requests (
    stream            text           NOT NULL,
    id                bigint         NOT NULL,
    -- Null once the client's sealed values are erased. So are objectives, notes, failure_detail and
    -- withdrawal_rationale.
    client_id         text,
    risk_profile      text           NOT NULL,
    amount_usd        numeric(14, 2) NOT NULL,
    horizon_years     integer,
    objectives        jsonb,
    constraints       jsonb,
    notes             text,
    -- The portfolio to rebalance, if monitoring asks for it.
    portfolio         text,
    status            text           NOT NULL,
    recommendation_id bigint,
    failure_reason    text,
    failure_detail    text,
    -- From here to replaced_by: the withdrawal, by the position of its event. The last is the number of a request.
    withdrawal_id     bigint,
    withdrawn_at      timestamptz,
    withdrawn_by      text,
    withdrawal_reason text,
    withdrawal_rationale text,
    replaced_by       bigint,
    requested_by      text           NOT NULL,
    -- Nobody has asked for an answer in this ledger: agents are not given the request.
    imported          boolean        NOT NULL,
    created_at        timestamptz    NOT NULL,
    updated_at        timestamptz    NOT NULL
);
