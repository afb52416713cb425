-- The Merkle log over the events (docs/format-log.md). All of it follows from the events and from the signing key, which
-- is not here; it is kept because it was signed, or because making it again for each reader would take long.

CREATE TABLE tiles (
    level  smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
    number bigint   NOT NULL CHECK (number >= 0),
    -- Full ones alone: 256 hashes.
    hashes bytea    NOT NULL CHECK (octet_length(hashes) = 8192),
    PRIMARY KEY (level, number)
);
ALTER TABLE tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

CREATE TABLE partial_tiles (
    -- What does not fill a tile yet, as of the newest checkpoint; at level 0 it can be had from the events.
    level  smallint NOT NULL PRIMARY KEY CHECK (level BETWEEN 1 AND 7),
    number bigint   NOT NULL CHECK (number >= 0),
    hashes bytea    NOT NULL CHECK (octet_length(hashes) BETWEEN 32 AND 8160 AND octet_length(hashes) % 32 = 0)
);

CREATE TABLE checkpoints (
    -- Of the tree that it is of: the events at positions 1 to size.
    size       bigint      NOT NULL PRIMARY KEY CHECK (size > 0),
    -- The note as it was signed, without the cosignatures of others.
    note       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE cosignatures (
    size       bigint      NOT NULL REFERENCES checkpoints,
    -- Name and key id, as in the line.
    witness    text        NOT NULL,
    -- One signature line, with its newline.
    line       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (size, witness)
);

CREATE TABLE checkpoint_timestamps (
    size       bigint      NOT NULL REFERENCES checkpoints,
    -- The address of the authority.
    authority  text        NOT NULL,
    -- TimeStampToken, DER (RFC 3161), over SHA-256 of the note as it was signed.
    token      bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (size, authority)
);
