CREATE TABLE notifications (
    stream     text        NOT NULL,
    -- The ledger position of the decision.
    id         bigint      NOT NULL,
    portfolio  text        NOT NULL,
    client_id  text COLLATE "C",
    -- The alert, by the position of the event that raised it.
    alert_id   bigint,
    -- Opened or closed.
    about      text        NOT NULL,
    -- Advisor, client, both or nobody.
    receivers  jsonb       NOT NULL,
    reason     text        NOT NULL,
    -- When it is decided again; null if it is decided for good.
    until      text,
    run        bigint      NOT NULL,
    as_of      text        NOT NULL,
    -- The run was historical: nothing is delivered.
    historical boolean     NOT NULL,
    decided_by text        NOT NULL,
    created_at timestamptz NOT NULL
);
