CREATE TABLE portfolio_alerts (
    stream                text        NOT NULL,
    -- The ledger position of the event that raised it.
    id                    bigint      NOT NULL,
    portfolio             text        NOT NULL,
    -- Its number within the portfolio.
    alert                 bigint      NOT NULL,
    client_id             text COLLATE "C",
    rule                  text        NOT NULL,
    -- The asset that it is about; null for the whole portfolio.
    subject               text,
    -- Why a portfolio is unknown; null for other rules.
    cause                 text,
    state                 text        NOT NULL,
    run                   bigint      NOT NULL,
    -- The time that the run judged.
    as_of                 text        NOT NULL,
    acknowledged_at       timestamptz,
    acknowledged_by       text,
    acknowledge_rationale text,
    silenced_until        text,
    silenced_by           text,
    silence_reason        text,
    closed_at             timestamptz,
    closed_by             text,
    close_reason          text,
    close_rationale       text,
    -- The last decision: who is told, why, and when it is decided again.
    receivers             jsonb,
    decided_reason        text,
    decided_again_at      text,
    -- Whether advice was asked for because of it, or why not.
    advice                text,
    -- How often it went to a next person, and when last.
    level                 bigint,
    escalated_at          timestamptz,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL
);
