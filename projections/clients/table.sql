CREATE TABLE clients (
    stream          text        NOT NULL,
    -- The number of the client.
    id              bigint      NOT NULL,
    -- Null once it is erased.
    client_id       text COLLATE "C",
    -- True for another identifier of the client merged_into, which is no client of its own.
    alias           boolean     NOT NULL,
    -- The client that this one turned out to be; null if it is not merged.
    merged_into     bigint,
    merged_position bigint,
    merged_at       timestamptz,
    merged_by       text,
    -- Objects with subject or group, since, until, and the position of the event.
    assignments     jsonb       NOT NULL,
    -- Those of the assignments, whatever their times.
    subjects        text[]      NOT NULL,
    groups          text[]      NOT NULL,
    registered_by   text        NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);
