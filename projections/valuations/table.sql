CREATE TABLE valuations (
    stream      text        NOT NULL,
    -- The ledger position of the record.
    id          bigint      NOT NULL,
    portfolio   text        NOT NULL,
    -- The number of the client.
    client      bigint      NOT NULL,
    -- Null once it is erased, as are the amounts.
    client_id   text COLLATE "C",
    -- The day at whose end the portfolio had these values.
    valued_on   text        NOT NULL,
    source      text        NOT NULL,
    currency    text        NOT NULL,
    -- The value of each holding, by asset.
    amounts     jsonb,
    recorded_by text        NOT NULL,
    created_at  timestamptz NOT NULL
);
