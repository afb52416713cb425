CREATE TABLE samples (
    stream            text           NOT NULL,
    -- The number of the sample, and the position of the event that drew it.
    id                bigint         NOT NULL,
    position          bigint         NOT NULL,
    -- From here to unreviewed: which decisions could be chosen.
    decided_from      text           NOT NULL,
    decided_to        text           NOT NULL,
    agent             text,
    decided_by        text,
    outcome           text,
    overridden        boolean,
    amount_from       numeric(14, 2),
    amount_to         numeric(14, 2),
    unreviewed        boolean,
    -- How many were to be chosen.
    size              bigint         NOT NULL,
    -- Null if all decisions were equally likely.
    weights           jsonb,
    reviewers         jsonb          NOT NULL,
    due_at            text,
    method            text           NOT NULL,
    -- In hex, and who chose it: server or caller.
    seed              text           NOT NULL,
    seed_from         text           NOT NULL,
    -- The position as of which the decisions were looked at; how many there were, and the digest of them.
    upto              bigint         NOT NULL,
    population        bigint         NOT NULL,
    population_digest text           NOT NULL,
    -- The ids of the chosen decisions.
    chosen            jsonb          NOT NULL,
    drawn_by          text           NOT NULL,
    created_at        timestamptz    NOT NULL
);
