CREATE TABLE witness_key (only_one INTEGER PRIMARY KEY CHECK (only_one = 1), key TEXT NOT NULL);

CREATE TABLE witness_seen (
    origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL, at_s INTEGER NOT NULL
);

CREATE TABLE witness_kept (
    digest BLOB PRIMARY KEY, origin TEXT NOT NULL, reason TEXT NOT NULL, note BLOB NOT NULL, at TEXT NOT NULL
);
