CREATE TABLE corporate_actions (
    stream      text        NOT NULL,
    -- The ledger position of the record.
    id          bigint      NOT NULL,
    asset       text        NOT NULL,
    -- The first day that it counts on.
    date        text        NOT NULL,
    -- Split, renamed or delisted.
    action      text        NOT NULL,
    -- Of a split: new units for old ones.
    ratio       text,
    -- Of a renamed asset: its new identifier.
    becomes     text,
    -- Of a delisted asset: what is paid for a unit.
    price       text,
    currency    text,
    -- The record takes the action back.
    withdrawn   boolean     NOT NULL,
    source      text,
    -- The next record about the same asset, day and kind of action; null for the one that counts.
    replaced_by bigint,
    recorded_by text        NOT NULL,
    created_at  timestamptz NOT NULL
);
