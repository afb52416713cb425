CREATE TABLE event_texts (
    stream     text        NOT NULL,
    -- The ledger position of the event.
    id         bigint      NOT NULL,
    -- The words of the event's sealed values; empty once they are erased.
    words      tsvector    NOT NULL,
    created_at timestamptz NOT NULL
);
