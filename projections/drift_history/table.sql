CREATE TABLE drift_history (
    -- That of the run.
    stream     text        NOT NULL,
    -- 2^20 times the number of the run, and the place of the leaf.
    id         bigint      NOT NULL,
    -- Of the event that completed the run: since then the row holds.
    position   bigint      NOT NULL,
    -- The stream of the portfolio: the row is deleted when it is erased.
    owner      text        NOT NULL,
    run        bigint      NOT NULL,
    portfolio  text        NOT NULL,
    -- The time that was judged.
    as_of      text        NOT NULL,
    condition  text        NOT NULL,
    -- Why the condition is unknown: an array of reason and asset for each.
    unknown    json        NOT NULL,
    -- One way, to the targets. Null if the condition is unknown.
    turnover   text,
    -- The assets beyond the single limit.
    beyond     json        NOT NULL,
    -- An array for each asset: its name, condition, drift, half-width, target and weight.
    assets     json        NOT NULL,
    -- The row has the digest that the run recorded.
    agrees     boolean     NOT NULL,
    created_at timestamptz NOT NULL
);
