-- Who may call. Only the hash of a token is kept; the token itself is shown once, when it is made.

CREATE TABLE tokens (
    name       text        NOT NULL PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9._@-]{0,99}$'),
    role       text        NOT NULL CHECK (role IN ('advisor', 'compliance', 'auditor', 'agent', 'admin')),
    -- SHA-256 of the token, which carries 256 random bits: a slow password hash would add nothing.
    hash       bytea       NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
