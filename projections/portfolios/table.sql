CREATE TABLE portfolios (
    stream            text        NOT NULL,
    -- The ledger position of the first definition.
    id                bigint      NOT NULL,
    name              text        NOT NULL,
    -- The number of the client.
    client            bigint      NOT NULL,
    -- Null once it is erased, as are the targets.
    client_id         text COLLATE "C",
    base              text        NOT NULL,
    -- Weights by asset; `rest` has what they leave.
    targets           jsonb,
    rest              text,
    -- The monitoring policy.
    policy            text        NOT NULL,
    -- That of requests for advice about it.
    risk_profile      text,
    -- Where the targets come from: one of the two.
    recommendation_id bigint,
    source            text,
    -- The day of the last assessment that it suits its client.
    assessed_on       text,
    -- How often it was defined.
    definitions       bigint      NOT NULL,
    defined_by        text        NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL
);
