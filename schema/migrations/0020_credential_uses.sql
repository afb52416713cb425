-- When each credential was last used, to within a minute. It is no part of the chain and gives no right: it tells
-- administrators which credentials nobody needs. functions/note_uses.sql writes it.
CREATE TABLE credential_uses (
    subject      text        NOT NULL,
    credential   integer     NOT NULL,
    last_used_at timestamptz NOT NULL,
    PRIMARY KEY (subject, credential)
);
