"""A witness's state in PostgreSQL, in the first schema of the login's search_path. A connection for each request."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import psycopg

from api.witness.state import KEPT_EACH, Decide, Kept, NoState, OtherKey, Seen, StateUnavailable, now
from ledger.database import one_line

MAKE = """
CREATE TABLE witness_key (only_one integer PRIMARY KEY CHECK (only_one = 1), key text NOT NULL);
CREATE TABLE witness_seen (
    origin text PRIMARY KEY, size bigint NOT NULL, root bytea NOT NULL, note bytea NOT NULL, at_s bigint NOT NULL
);
CREATE TABLE witness_kept (
    number bigint GENERATED ALWAYS AS IDENTITY, digest bytea PRIMARY KEY,
    origin text NOT NULL, reason text NOT NULL, note bytea NOT NULL, at text NOT NULL
)
"""
SEEN = "SELECT size, root, note, at_s FROM witness_seen WHERE origin = %s"
SET = """
    INSERT INTO witness_seen (origin, size, root, note, at_s) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (origin) DO UPDATE
    SET size = excluded.size, root = excluded.root, note = excluded.note, at_s = excluded.at_s
"""
KEEP = """
    INSERT INTO witness_kept (digest, origin, reason, note, at) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (digest) DO NOTHING
"""
FORGET = """
    DELETE FROM witness_kept WHERE origin = %(origin)s AND reason = %(reason)s
    AND number NOT IN (
        SELECT number FROM witness_kept WHERE origin = %(origin)s AND reason = %(reason)s
        ORDER BY number LIMIT %(each)s)
    AND number NOT IN (
        SELECT number FROM witness_kept WHERE origin = %(origin)s AND reason = %(reason)s
        ORDER BY number DESC LIMIT %(each)s)
"""
ALL_SEEN = "SELECT origin, size, root, note, at_s FROM witness_seen ORDER BY origin"
ALL_KEPT = "SELECT origin, reason, note, at FROM witness_kept ORDER BY number"
# Also where the row is not there yet, which could not be locked itself.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('advice-ledger witness ' || %s, 0))"
# Whatever the server's default is: a cosignature leaves after the commit.
DURABLE = "SET LOCAL synchronous_commit = on"


def make_tables(url: str, key: str) -> None:
    """A new state for the witness with this verifier key. Raises StateUnavailable, also where there is one already."""
    with _transaction(url) as conn:
        conn.execute(MAKE)
        conn.execute("INSERT INTO witness_key VALUES (1, %s)", [key])


class PostgresState:
    """In the database at `url`. `key` is the witness's verifier key. Raises StateError."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        with _transaction(url) as conn:
            if conn.execute("SELECT to_regclass('witness_key') IS NOT NULL").fetchone() != (True,):
                raise NoState(
                    "the database has no witness's state. If it is lost, retire the key: advice-ledger witness keygen"
                    " makes a new one, with a new state"
                )
            if conn.execute("SELECT key FROM witness_key").fetchone() != (key,):
                raise OtherKey("the database has the state of another witness than this key's")

    def move(self, origin: str, decide: Decide) -> None:
        """See State."""
        with _transaction(self._url) as conn:
            conn.execute(LOCK, [origin])
            row = conn.execute(SEEN, [origin], binary=True).fetchone()
            conn.execute(SET, [origin, *decide(None if row is None else Seen(*row))])

    def keep(self, origin: str, reason: str, text: str, note: bytes) -> None:
        """See State."""
        with _transaction(self._url) as conn:
            conn.execute(KEEP, [sha256(text.encode()).digest(), origin, reason, note, now()])
            conn.execute(FORGET, {"origin": origin, "reason": reason, "each": KEPT_EACH})

    def seen(self) -> dict[str, Seen]:
        """See State."""
        with _transaction(self._url) as conn:
            return {origin: Seen(*row) for origin, *row in conn.execute(ALL_SEEN)}

    def kept(self) -> list[Kept]:
        """See State."""
        with _transaction(self._url) as conn:
            return [Kept(*row) for row in conn.execute(ALL_KEPT)]

    def close(self) -> None:
        """See State. There is nothing to let go of."""


@contextlib.contextmanager
def _transaction(url: str) -> Iterator[psycopg.Connection[Any]]:
    try:
        with psycopg.connect(url, connect_timeout=5, application_name="advice-ledger witness") as conn:
            conn.execute(DURABLE)
            conn.execute("SET LOCAL statement_timeout = '10s'")
            yield conn
    except psycopg.Error as error:
        raise StateUnavailable(f"the witness's database: {one_line(error)}") from error
