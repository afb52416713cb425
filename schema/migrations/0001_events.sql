-- What is recorded. Rows enter through append() alone; triggers refuse every other change, also to the owner.

CREATE TABLE head (
    -- There is one row; append() locks it, so that commits come in the order of positions.
    singleton   boolean     NOT NULL DEFAULT true PRIMARY KEY CHECK (singleton),
    -- Names the ledger; the genesis hash is made from it.
    origin      text        NOT NULL CHECK (octet_length(origin) BETWEEN 1 AND 200 AND origin !~ '[[:space:][:cntrl:]+]'),
    -- Of the newest event; 0 in an empty ledger.
    position    bigint      NOT NULL CHECK (position >= 0),
    -- Of the newest event; the genesis hash in an empty ledger.
    hash        bytea       NOT NULL CHECK (octet_length(hash) = 32),
    -- Of the newest event; the next one is never earlier.
    recorded_at timestamptz NOT NULL
);

CREATE TABLE events (
    -- 1, 2, 3… without gaps, in commit order.
    position    bigint      NOT NULL PRIMARY KEY CHECK (position > 0),
    -- Chosen by the caller: appending it again is a replay, not a second event.
    id          uuid        NOT NULL CONSTRAINT events_id_key UNIQUE,
    stream      text        NOT NULL CHECK (octet_length(stream) BETWEEN 1 AND 200),
    -- 1, 2, 3… within the stream.
    version     bigint      NOT NULL CHECK (version > 0),
    type        text        NOT NULL CHECK (octet_length(type) BETWEEN 1 AND 100),
    -- Set by the database; never decreasing with position.
    recorded_at timestamptz NOT NULL,
    -- Canonical JSON (RFC 8785): exactly the text that is hashed.
    body        text        NOT NULL CHECK (octet_length(body) <= 1048576),
    prev_hash   bytea       NOT NULL CHECK (octet_length(prev_hash) = 32),
    hash        bytea       NOT NULL CHECK (octet_length(hash) = 32),
    CONSTRAINT events_stream_version_key UNIQUE (stream, version)
);
-- Bodies are read whole and are mostly under a page: compressing them costs more than it saves.
ALTER TABLE events ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE sealed_fields (
    -- Of the event; no foreign key, as append() writes both and the verifier looks for strays.
    position bigint NOT NULL PRIMARY KEY,
    -- {field: 64 hex digits}
    salts    json   NOT NULL,
    -- {field: value}; json and not jsonb, so that the text stays as it was committed to.
    fields   json   NOT NULL
);

CREATE TABLE stream_clients (
    -- A stream belongs to at most one client.
    stream    text NOT NULL PRIMARY KEY,
    client_id text NOT NULL
);
CREATE INDEX stream_clients_client_id_idx ON stream_clients (client_id);

CREATE TABLE stream_numbers (
    -- The part of the stream's name before its number, with the hyphen: 'request-'.
    category text   NOT NULL PRIMARY KEY CHECK (category LIKE '%-'),
    last     bigint NOT NULL CHECK (last > 0)
);
