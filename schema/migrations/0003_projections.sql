-- Where each read model stands. The read models themselves are made by projections/rebuild.py.

CREATE TABLE projections (
    name       text        NOT NULL PRIMARY KEY,
    -- All events up to this position are in the read model.
    position   bigint      NOT NULL CHECK (position >= 0),
    -- SHA-256 of fold.sql and table.sql as they were when the table was built.
    digest     text        NOT NULL,
    -- Set when applying failed; the projection stands still until it is rebuilt.
    error      text,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Who is working on a queued request. Not a record: a claim that is lost costs a repeated question to an agent, no more.
CREATE TABLE request_claims (
    request_id bigint      NOT NULL PRIMARY KEY,
    worker     text        NOT NULL,
    expires_at timestamptz NOT NULL,
    -- Which claim of this request it is; the first is 1.
    attempt    integer     NOT NULL DEFAULT 1
);
