CREATE TABLE ai_recommendations (
    stream              text        NOT NULL,
    -- The ledger position of the event that recorded the recommendation.
    id                  bigint      NOT NULL,
    request_id          bigint      NOT NULL,
    -- Null once the client's sealed values are erased. So are recommendation, prompt, rationale, replacement, response,
    -- decline_rationale and message.
    client_id           text,
    -- From here to amount_usd: of the request.
    requested_by        text,
    risk_profile        text,
    amount_usd          numeric(14, 2),
    -- proposed, waiting, approved, edited, rejected, returned, communicated, superseded or withdrawn
    state               text        NOT NULL,
    -- The commitment to the content in force: the recommendation, or its replacement once an edit is effective.
    digest              text        NOT NULL,
    -- The answer of the agent: the "before" of an edit.
    recommendation      jsonb,
    model_name          text        NOT NULL,
    model_version       text,
    parameters          jsonb,
    prompt              text,
    model_call_id       bigint,
    supersedes          bigint,
    superseded_by       bigint,
    -- The first opening.
    opened_at           timestamptz,
    opened_by           text,
    -- From here to confirmed_at: the last decision that is in force or waits for a confirmation.
    decision_id         bigint,
    outcome             text,
    decided_by          text,
    decided_at          timestamptz,
    reason_code         text,
    reason_group        text,
    rationale           text,
    -- The "after" of an edit.
    replacement         jsonb,
    replacement_digest  text,
    response            text,
    needs_second        boolean,
    second_rules        jsonb,
    confirmed_by        text,
    confirmed_at        timestamptz,
    -- Decisions that a confirmer declined: how many, and the last decline, by the position of its event.
    declines            bigint      NOT NULL,
    decline_id          bigint,
    declined_by         text,
    declined_at         timestamptz,
    decline_rationale   text,
    communicated_at     timestamptz,
    communicated_by     text,
    channel             text,
    -- The words to the client; then the digest of the content that they were about.
    message             text,
    communicated_digest text,
    agent               text        NOT NULL,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL
);
