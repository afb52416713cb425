CREATE TABLE decisions (
    stream               text        NOT NULL,
    -- The ledger position of the event that recorded the decision.
    id                   bigint      NOT NULL,
    recommendation_id    bigint      NOT NULL,
    request_id           bigint      NOT NULL,
    -- Null once the client's sealed values are erased. So are rationale, replacement, response and second_rationale.
    client_id            text,
    -- approve, edit, reject or respond
    outcome              text        NOT NULL,
    -- effective, waiting or declined
    state                text        NOT NULL,
    -- The commitment to the content of the recommendation that the decision is about.
    digest               text        NOT NULL,
    reason_code          text,
    reason_group         text,
    rationale            text,
    replacement          jsonb,
    replacement_digest   text,
    response             text,
    decided_by           text        NOT NULL,
    decided_role         text        NOT NULL,
    -- When the person who decided had last opened the recommendation.
    opened_at            timestamptz,
    -- When the decision was recorded.
    created_at           timestamptz NOT NULL,
    -- Counted from opened_at, or if that is null, from when the recommendation was recorded.
    seconds_to_decide    numeric     NOT NULL,
    needs_second         boolean     NOT NULL,
    second_rules         jsonb,
    -- approve or decline
    confirmation         text,
    confirmed_by         text,
    confirmed_role       text,
    -- When the confirmer had last opened the recommendation, between the decision and the confirmation.
    second_opened_at     timestamptz,
    confirmed_at         timestamptz,
    -- Counted from second_opened_at, or if that is null, from the decision. Null without a confirmation.
    seconds_to_confirm   numeric,
    second_rationale     text,
    four_eyes_version    text        NOT NULL,
    reason_codes_version text,
    model_name           text        NOT NULL,
    model_version        text,
    -- The agent that recorded the recommendation.
    agent                text        NOT NULL,
    -- The amount of the request.
    amount_usd           numeric(14, 2)
);
