CREATE TABLE decisions (
    stream               text        NOT NULL,
    -- The ledger position of the event that recorded the decision.
    id                   bigint      NOT NULL,
    recommendation_id    bigint      NOT NULL,
    request_id           bigint      NOT NULL,
    -- Null once the client's sealed values are erased. So are rationale, replacement, response, second_rationale,
    -- end_rationale, decline_rationale and review_note.
    client_id            text,
    -- approve, edit, reject or respond
    outcome              text        NOT NULL,
    -- effective, waiting, declined, withdrawn, revoked or expired
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
    -- Until when the decision can be confirmed. Null if it takes no confirmation, or as long as it takes.
    confirm_by           timestamptz,
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
    -- The withdrawal, revocation or expiry, by the position of its event. An expiry has no reason.
    end_id               bigint,
    ended_by             text,
    ended_at             timestamptz,
    end_reason           text,
    end_rationale        text,
    -- Decisions on the same recommendation that were declined before: how many, and the last decline.
    earlier_declines     bigint      NOT NULL,
    decline_id           bigint,
    declined_by          text,
    declined_at          timestamptz,
    decline_rationale    text,
    -- The last review that looked at the decision, by the position of its event.
    review_id            bigint,
    reviewed_by          text,
    reviewed_at          timestamptz,
    -- no-concern or concern
    disposition          text,
    review_note          text,
    -- Samples that chose the decision; findings about it or about its case since, and those that are open.
    samples              bigint      NOT NULL,
    findings             bigint      NOT NULL,
    open_findings        bigint      NOT NULL,
    four_eyes_version    text        NOT NULL,
    reason_codes_version text,
    model_name           text        NOT NULL,
    model_version        text,
    -- The agent that recorded the recommendation.
    agent                text        NOT NULL,
    -- From here to amount_usd: of the request.
    requested_by         text,
    risk_profile         text,
    amount_usd           numeric(14, 2),
    -- When the client was told about the recommendation.
    communicated_at      timestamptz
);
