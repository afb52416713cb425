"""Make, list and revoke bearer tokens, on a connection that acts as the ledger's owner.

    TokenError
    ├── BadName           no valid actor name
    ├── UnknownRole       no such role
    ├── NameTaken         the name has a token, perhaps revoked: events carry names, so no name is used twice
    ├── UnknownName       no token has this name
    └── AlreadyRevoked    the token was revoked before

A token is `alt_` and 256 random bits in 43 url-safe characters. The database stores only its SHA-256.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from ledger.database import Connection
from ledger.domain.agent import RESERVED

ROLES = ("advisor", "compliance", "auditor", "agent", "admin")
PREFIX = "alt_"
RANDOM_BYTES = 32
# The same as in schema/migrations/0002_tokens.sql.
NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,99}")

INSERT = "INSERT INTO tokens (name, role, hash) VALUES (%s, %s, %s) ON CONFLICT (name) DO NOTHING"
LIST = "SELECT name, role, created_at, revoked_at FROM tokens ORDER BY created_at, name"
REVOKE = "UPDATE tokens SET revoked_at = clock_timestamp() WHERE name = %s AND revoked_at IS NULL"
FIND = "SELECT revoked_at FROM tokens WHERE name = %s"
COUNT = "SELECT active, revoked FROM token_counts()"
# If two servers start at once on a fresh ledger, the second waits, and then finds the tokens of the first.
LOCK = "LOCK TABLE tokens IN SHARE ROW EXCLUSIVE MODE"


class TokenError(Exception):
    """The command about tokens is refused; the message says why."""


class BadName(TokenError):
    """The name is not valid."""


class UnknownRole(TokenError):
    """There is no such role."""


class NameTaken(TokenError):
    """A token of this name exists or existed."""


class UnknownName(TokenError):
    """No token has this name."""


class AlreadyRevoked(TokenError):
    """The token was revoked before."""


@dataclass(frozen=True)
class Token:
    """What the database stores of a token; `revoked_at` is None while it is in force."""

    name: str
    role: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True)
class Counts:
    """Numbers of tokens."""

    active: int
    revoked: int


def create(conn: Connection, name: str, role: str) -> str:
    """Make a token and return it: it cannot be read again. Raises BadName, UnknownRole or NameTaken."""
    if NAME.fullmatch(name) is None:
        raise BadName(
            f"{name!r} cannot be a token's name: at most 100 of a to z, 0 to 9, and . _ @ -, starting with a letter "
            "or digit"
        )
    if name in RESERVED:
        raise NameTaken(
            f"the name {name} belongs to an agent of advice-ledger: choose another, so that events tell the two apart"
        )
    if role not in ROLES:
        raise UnknownRole(f"there is no role {role!r}; there are {', '.join(ROLES)}")
    token = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    if conn.execute(INSERT, [name, role, sha256(token.encode()).digest()]).rowcount == 0:
        raise NameTaken(
            f"the name {name} has a token, perhaps a revoked one: choose another, as events already carry this one"
        )
    return token


def create_first(conn: Connection) -> dict[str, str]:
    """If no token was ever made, make one for each role, named as the role. Return the new tokens by role."""
    with conn.transaction():
        conn.execute(LOCK)
        if counts(conn) != Counts(0, 0):
            return {}
        return {role: create(conn, role, role) for role in ROLES}


def listed(conn: Connection) -> list[Token]:
    """Return every token ever made, the oldest first."""
    return [Token(*row) for row in conn.execute(LIST)]


def revoke(conn: Connection, name: str) -> None:
    """End a token; servers notice within a second. Raises UnknownName or AlreadyRevoked."""
    known = NAME.fullmatch(name) is not None
    if known and conn.execute(REVOKE, [name]).rowcount == 1:
        return
    row = conn.execute(FIND, [name]).fetchone() if known else None
    if row is None:
        raise UnknownName(f"no token has the name {name!r}; advice-ledger tokens list shows them")
    raise AlreadyRevoked(f"the token {name} was revoked already, at {row[0].isoformat(timespec='seconds')}")


def counts(conn: Connection) -> Counts:
    """Count the tokens that are in force and those that were revoked."""
    row = conn.execute(COUNT).fetchone()
    assert row is not None
    return Counts(*row)
