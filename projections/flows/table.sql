CREATE TABLE flows (
    stream      text        NOT NULL,
    -- The ledger position of the record.
    id          bigint      NOT NULL,
    portfolio   text        NOT NULL,
    -- The number of the client.
    client      bigint      NOT NULL,
    -- Null once it is erased, as are the reference and the amount.
    client_id   text COLLATE "C",
    reference   text,
    date        text        NOT NULL,
    kind        text        NOT NULL,
    amount      text,
    currency    text        NOT NULL,
    -- The record takes the flow back.
    withdrawn   boolean     NOT NULL,
    source      text,
    -- The next record with the same reference; null for the one that counts.
    replaced_by bigint,
    recorded_by text        NOT NULL,
    created_at  timestamptz NOT NULL
);
