CREATE TABLE ai_recommendations (
    stream              text        NOT NULL,
    -- The ledger position of the event that recorded the recommendation.
    id                  bigint      NOT NULL,
    request_id          bigint      NOT NULL,
    -- Null once the client's sealed values are erased. So are recommendation, prompt, rationale, replacement, response
    -- and message.
    client_id           text,
    -- proposed, waiting, approved, edited, rejected, returned, communicated or superseded
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
    -- From here to confirmed_at: the last decision that was not declined by a confirmer.
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
    confirmed_by        text,
    confirmed_at        timestamptz,
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
