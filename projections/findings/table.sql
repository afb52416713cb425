CREATE TABLE findings (
    stream       text        NOT NULL,
    -- The position of the event that opened the finding.
    id           bigint      NOT NULL,
    -- The request or the number of the client that it is about: one of both is null.
    request_id   bigint,
    client       bigint,
    -- Null once the client's sealed values are erased. So are text and close_reason.
    client_id    text,
    -- Null if it is about the whole case, or about the client.
    decision_id  bigint,
    -- low, medium or high
    severity     text        NOT NULL,
    -- open or closed
    state        text        NOT NULL,
    text         text,
    opened_by    text        NOT NULL,
    -- The subject who sees to it.
    assignee     text,
    -- remedied, accepted or unfounded
    resolution   text,
    closed_by    text,
    closed_at    timestamptz,
    -- The position of the event that closed it.
    close_id     bigint,
    close_reason text,
    created_at   timestamptz NOT NULL
);
