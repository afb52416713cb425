CREATE TABLE exports (
    stream          text        NOT NULL,
    -- The number of the export.
    id              bigint      NOT NULL,
    -- Requested, completed or failed.
    state           text        NOT NULL,
    -- What is exported: a client, a request, a search, or a range of positions or times.
    client          bigint,
    request         bigint,
    position_from   bigint,
    position_to     bigint,
    recorded_from   text,
    recorded_to     text,
    -- Of a client or a search: what took place then.
    occurred_from   text,
    occurred_to     text,
    -- The filters of a search, and its words.
    search          jsonb,
    text            text,
    -- The names of sealed fields, or "all".
    disclose        jsonb,
    withhold        jsonb,
    -- The time zone of the case file; null for UTC.
    zone            text,
    -- Null once the client is erased.
    purpose         text,
    recipient       text,
    -- The rest is null until it is completed: the events of the bundle, and those that its checkpoint does not cover.
    events          bigint,
    first_position  bigint,
    last_position   bigint,
    excluded        bigint,
    checkpoint_size bigint,
    -- The size of the file, and its digest.
    bytes           bigint,
    sha256          text,
    -- By event type and field: how many values were disclosed, withheld and erased.
    fields          jsonb,
    expires_at      text,
    -- Why it failed.
    failure_reason  text,
    requested_by    text        NOT NULL,
    created_at      timestamptz NOT NULL,
    ended_at        timestamptz
);
