CREATE TABLE accesses (
    stream     text        NOT NULL,
    -- The ledger position of the event.
    id         bigint      NOT NULL,
    subject    text        NOT NULL,
    -- The role in which the subject acted.
    role       text        NOT NULL,
    credential bigint,
    -- read, export or refused
    action     text        NOT NULL,
    -- Method and route template, or the command.
    resource   text        NOT NULL,
    -- The names of the filters and options in use.
    parameters jsonb,
    -- The requests whose data was shown.
    requests   bigint[],
    -- The clients whose data was shown that belongs to no request.
    clients    bigint[],
    -- How many rows the answer had.
    rows       bigint,
    -- Why it was refused.
    reason     text,
    created_at timestamptz NOT NULL
);
