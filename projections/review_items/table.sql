CREATE TABLE review_items (
    stream      text        NOT NULL,
    -- The position of the event that assigned the item first.
    id          bigint      NOT NULL,
    request_id  bigint      NOT NULL,
    decision_id bigint      NOT NULL,
    -- The number of the sample that chose the decision.
    sample      bigint      NOT NULL,
    assignee    text        NOT NULL,
    due_at      text,
    -- open, reviewed or finding
    state       text        NOT NULL,
    assigned_by text        NOT NULL,
    created_at  timestamptz NOT NULL,
    -- The review that closed the item, by the position of its event.
    review_id   bigint,
    reviewed_by text,
    reviewed_at timestamptz,
    disposition text,
    -- Findings about the decision or the case that were opened since, also those that are closed.
    findings    bigint      NOT NULL
);
