-- The catalogue of schema/events.py, for append() to look up. schema/migrate.py adds what this version knows. No row is
-- ever removed: recorded events keep their types, and another process may still run an older version.
CREATE TABLE event_types (
    type          text        NOT NULL CHECK (type ~ '^[a-z]+(-[a-z]+)*[.][a-z]+(-[a-z]+)*$'),
    -- The member "schema" of a body.
    version       integer     NOT NULL CHECK (version > 0),
    registered_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (type, version)
);

-- parse_batch() returns one more column, which CREATE OR REPLACE cannot do; functions/parse_batch.sql makes it again.
DROP FUNCTION IF EXISTS parse_batch(text);
