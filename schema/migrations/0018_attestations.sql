-- Who recorded what: docs/formats/recording.md. append() writes both tables, in the transaction of the events.

CREATE TABLE attestations (
    -- The positions of the events of one append, in the order of its lines.
    first     bigint  NOT NULL PRIMARY KEY CHECK (first > 0),
    last      bigint  NOT NULL CHECK (last >= first),
    -- The public key, and what makes a copy of the signature useless elsewhere.
    key       bytea   NOT NULL CHECK (octet_length(key) = 32),
    session   bytea   NOT NULL CHECK (octet_length(session) = 16),
    serial    bigint  NOT NULL CHECK (serial > 0),
    signature bytea   NOT NULL CHECK (octet_length(signature) = 64),
    -- Lines, from 1, whose stream got its number when it was recorded; and lines that were replays, with their digests.
    numbered  integer[] NOT NULL,
    replayed  integer[] NOT NULL,
    digests   bytea     NOT NULL CHECK (octet_length(digests) = 32 * cardinality(replayed)),
    UNIQUE (key, session, serial)
);

-- An index of the events recording-key.registered, for append(): it refuses what the signer would not sign. Verification
-- reads the events.
CREATE TABLE recording_keys (
    key        bytea  NOT NULL PRIMARY KEY CHECK (octet_length(key) = 32),
    registered bigint NOT NULL,
    -- The position of the event that put another key in its place.
    replaced   bigint
);

-- append() and adopt_checkpoint() take other parameters; functions/append.sql and functions/adopt_checkpoint.sql make them again.
DROP FUNCTION IF EXISTS append(text[], uuid[], text[], text[], integer[], text[], text[], integer[], text[], bytea[], text[], bigint, text[]);
DROP FUNCTION IF EXISTS adopt_checkpoint(text, uuid, integer, bytea, text, bigint);
