CREATE TABLE credentials (
    stream        text        NOT NULL,
    -- The ledger position of the event that issued it.
    id            bigint      NOT NULL,
    subject       text        NOT NULL,
    -- The number within the subject.
    credential    bigint      NOT NULL,
    kind          text        NOT NULL,
    -- Of a token, in hex.
    sha256        text,
    -- Of an identity at an OpenID Connect provider.
    issuer        text,
    identity      text,
    expires_at    timestamptz,
    -- When it expires, or when the grace after its replacement is over, whichever is earlier.
    ends_at       timestamptz,
    replaces      bigint,
    replaced_by   bigint,
    issued_by     text        NOT NULL,
    created_at    timestamptz NOT NULL,
    -- When it was revoked, or replaced without grace.
    revoked_at    timestamptz,
    revoked_by    text,
    revoke_reason text
);
