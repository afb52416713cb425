-- Streams that a read model's fold cannot take: see projections/set_aside.py. A rebuild replaces the rows of its read model.
CREATE TABLE streams_set_aside (
    read_model   text        NOT NULL,
    stream       text        NOT NULL,
    -- The first event that the fold cannot take. As of earlier positions the stream can be read.
    position     bigint      NOT NULL CHECK (position > 0),
    -- The error of the fold, without its text, which may quote a value.
    sqlstate     text        NOT NULL CHECK (sqlstate ~ '^[0-9A-Z]{5}$'),
    set_aside_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (read_model, stream)
);
