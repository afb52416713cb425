-- The session that leads the work of a role, of which no two may do the same at once. functions/take_lead.sql writes it.
-- Without a leader yet, pid, login and lock are null.
CREATE TABLE leaders (
    role  text        NOT NULL PRIMARY KEY,
    -- The session's process id on the server, and its login.
    pid   integer,
    login name,
    -- An advisory lock with a random number, which the session holds until it ends.
    lock  bigint,
    since timestamptz
);
INSERT INTO leaders (role) VALUES ('owner'), ('signer'), ('verifier');
