CREATE TABLE decisions (
    stream               text        NOT NULL,
    -- The ledger position of the event that recorded it.
    id                   bigint      NOT NULL,
    recommendation_id    bigint      NOT NULL,
    request_id           bigint      NOT NULL,
    -- Null once the client's sealed values are erased; so are rationale, replacement, response and second_rationale.
    client_id            text,
    -- approve, edit, reject or respond
    outcome              text        NOT NULL,
    -- effective, waiting or declined
    state                text        NOT NULL,
    -- The commitment to the recommendation as it was decided on.
    digest               text        NOT NULL,
    reason_code          text,
    reason_group         text,
    rationale            text,
    replacement          jsonb,
    replacement_digest   text,
    response             text,
    decided_by           text        NOT NULL,
    decided_role         text        NOT NULL,
    -- When the same person had last opened the recommendation.
    opened_at            timestamptz,
    -- When it was decided.
    created_at           timestamptz NOT NULL,
    -- From opened_at; where that is null, from when the recommendation was recorded.
    seconds_to_decide    numeric     NOT NULL,
    needs_second         boolean     NOT NULL,
    second_rules         jsonb,
    -- approve or decline
    confirmation         text,
    confirmed_by         text,
    confirmed_role       text,
    -- When the second person had last opened the recommendation, after the decision and before their answer to it.
    second_opened_at     timestamptz,
    confirmed_at         timestamptz,
    -- From second_opened_at; where that is null, from when it was decided. Null where no second person has answered.
    seconds_to_confirm   numeric,
    second_rationale     text,
    four_eyes_version    text        NOT NULL,
    reason_codes_version text,
    model_name           text        NOT NULL,
    model_version        text,
    -- Who recorded the recommendation.
    agent                text        NOT NULL,
    -- Of the request.
    amount_usd           numeric(14, 2)
);
