CREATE TABLE monitoring_runs (
    stream       text        NOT NULL,
    -- The number of the run.
    id           bigint      NOT NULL,
    -- Started or completed.
    state        text        NOT NULL,
    -- The time and the ledger position that it judges.
    as_of        text        NOT NULL,
    judged_upto  bigint      NOT NULL,
    historical   boolean     NOT NULL,
    zone_data    text        NOT NULL,
    -- The rest is null until it is completed: how many portfolios it judged, and how many of each condition.
    portfolios   bigint,
    ok           bigint,
    watch        bigint,
    breached     bigint,
    unknown      bigint,
    -- How many alerts it raised and closed, and how often it decided whom to tell.
    raised       bigint,
    closed       bigint,
    decisions    bigint,
    -- The digest of each policy by name.
    policies     jsonb,
    -- The root of the tree of all judgements.
    root         text,
    started_by   text        NOT NULL,
    created_at   timestamptz NOT NULL,
    completed_at timestamptz
);
