"""Helpers of all tests: waiting, events to append, connections in a role, and the chain recomputed from the rows."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import Any, Literal, TypeVar, cast
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import namedtuple_row

from ledger import database
from ledger.database import Connection, Url
from ledger.proof.format import hashes
from ledger.proof.format.canonical import canonical
from ledger.store import events as store
from ledger.store.envelope import Actor, Expected, Line, NewEvent, encode, uuid7
from ledger.store.events import Receipt
from schema.events import Event, PortfolioRequested, RequestFailed
from schema.migrate import migrate

CLERK = Actor(id="clerk", kind="human", role="advisor")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

T = TypeVar("T")


def eventually(
    what: str,
    condition: Callable[..., T | Literal[False] | None],
    *,
    within_s: float = 30.0,
    every_s: float = 0.02,
    despite: tuple[type[Exception], ...] = (),
) -> T:
    """Return the first true result of `condition`, called every `every_s` seconds.

    Fails after `within_s` seconds, with `what` and the last result. An exception of a type in `despite` counts as a
    false result. This is the only place in the tests that sleeps: they wait for conditions, not for time to pass.
    """
    deadline_s = monotonic() + within_s
    while True:
        last: object
        try:
            if result := condition():
                return result
            last = result
        except despite as error:
            last = error
        assert monotonic() < deadline_s, f"not within {within_s:g} s: {what}; the last result was {last!r}"
        sleep(every_s)


def connect(url: Url, role: str | None = None, **settings: str) -> Connection:
    """Connect in autocommit mode as one of the ledger's roles; None keeps the login's rights (a superuser's)."""
    return database.connect(database.conninfo(url, role, **settings))


def requested(client_id: str = "client-1", **fields: Any) -> PortfolioRequested:
    """Make an event with a sealed field that ties its stream to a client."""
    return PortfolioRequested.model_validate(
        {"client_id": client_id, "risk_profile": "balanced", "amount_usd": 1000, **fields}
    )


def failed(reason: str = "no-answer", **fields: Any) -> RequestFailed:
    """Make an event without sealed fields, unless `fields` has `detail`."""
    return RequestFailed(reason=reason, **fields)


def new(stream: str, event: Event | None = None, *, id: UUID | None = None, expected: Expected = "any") -> NewEvent:  # noqa: A002
    """Make an event for `stream` with a new id; by default a small one without sealed fields."""
    return NewEvent(id or uuid7(), stream, event or failed(), CLERK, expected)


def line(event: NewEvent) -> str:
    """Encode an event as a line of append(text)."""
    return text(encode(event))


def text(encoded: Line) -> str:
    """Return a line as append(text) takes it."""
    parts = [f'"body":{encoded.body().decode()}', f'"expected":"{encoded.expected}"']
    if encoded.preconditions is not None:
        parts.append(f'"preconditions":{encoded.preconditions}')
    if encoded.sealed:
        parts.append('"fields":{' + ",".join(f'"{one.name}":{one.value}' for one in encoded.sealed) + "}")
        parts.append('"salts":{' + ",".join(f'"{one.name}":"{one.salt.hex()}"' for one in encoded.sealed) + "}")
    return "{" + ",".join(parts) + "}"


def append(conn: Connection, *events: NewEvent) -> list[Receipt]:
    """Append events; return their receipts. The errors of the database are not translated."""
    return append_lines(conn, [encode(event) for event in events])


def append_lines(conn: Connection, lines: Sequence[Line], **changes: Any) -> list[Receipt]:
    """Append lines, after changes of the parameters of append(); return their receipts."""
    with conn.cursor(binary=True) as cursor:
        cursor.execute(store.APPEND, store.parameters(lines) | changes)
        return store.receipts(lines, cursor.fetchone())


def append_text(conn: Connection, batch: str) -> list[Any]:
    """Append a batch as an earlier version does; return the rows of append(text)."""
    with conn.cursor(row_factory=namedtuple_row) as cursor:
        return cursor.execute("SELECT * FROM append(%s)", [batch]).fetchall()


def edited(event: NewEvent, **changes: Any) -> str:
    """Encode `event` for append(text) with other members. A callable gets the old value and returns the new one."""
    found = json.loads(line(event))
    for name, change in changes.items():
        found[name] = change(found.get(name)) if callable(change) else change
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


@dataclass
class Refusal:
    """The database error that a block raised."""

    error: psycopg.Error | None = None

    @property
    def message(self) -> str:
        """The primary message of the error."""
        assert self.error is not None
        return self.error.diag.message_primary or ""

    @property
    def detail(self) -> dict[str, Any]:
        """The parsed DETAIL of the error, which append() writes as JSON."""
        assert self.error is not None
        found = json.loads(self.error.diag.message_detail or "{}")
        assert isinstance(found, dict)
        return found


@contextlib.contextmanager
def refused(sqlstate: str) -> Iterator[Refusal]:
    """Assert that the database refuses the block with exactly this SQLSTATE."""
    refusal = Refusal()
    with pytest.raises(psycopg.Error) as caught:
        yield refusal
    refusal.error = caught.value
    assert caught.value.sqlstate == sqlstate, f"{caught.value.sqlstate}: {caught.value}"


@contextlib.contextmanager
def scratch_database(server_url: str, *, options: str = "") -> Iterator[str]:
    """Yield the URL of an empty database, and drop it. `options` are appended to CREATE DATABASE as they are."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} ").format(sql.Identifier(name)) + sql.SQL(options))
        try:
            yield make_conninfo(server_url, dbname=name)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextlib.contextmanager
def fresh_ledger(server_url: str) -> Iterator[str]:
    """Yield the URL of an empty ledger that a module's tests share, and check its chain at the end."""
    with scratch_database(server_url) as url:
        with connect(url) as conn:
            migrate(conn)
        yield url
        with connect(url) as conn:
            check_chain(conn)


@contextlib.contextmanager
def login_role(url: str, *attributes: str, member_of: str | None = None) -> Iterator[str]:
    """Yield the name of a new LOGIN role with the rights of `member_of` alone; drop it and what it owns in `url`."""
    name = f"test_login_{uuid.uuid4().hex[:12]}"
    role = sql.Identifier(name)
    with psycopg.connect(url, autocommit=True) as admin:
        words = sql.SQL(" ").join(sql.SQL(word) for word in ("LOGIN", *attributes))
        admin.execute(sql.SQL("CREATE ROLE {} {}").format(role, words))
        if member_of is not None:
            admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(member_of), role))
        try:
            yield name
        finally:
            admin.execute(sql.SQL("DROP OWNED BY {}").format(role))
            admin.execute(sql.SQL("DROP ROLE {}").format(role))


@contextlib.contextmanager
def login_url(url: str, member_of: str | None = None) -> Iterator[str]:
    """Yield the URL for a new login with the rights of `member_of` alone, as `login_role()`."""
    with login_role(url, "PASSWORD 'test'", member_of=member_of) as login:
        yield make_conninfo(url, user=login, password="test")


@contextlib.contextmanager
def session_of(url: str, login: str, role: str | None = None) -> Iterator[Connection]:
    """Yield a session with the rights of `login` and no others, without its password.

    With `role` it goes on to act as that one of the ledger's roles, as ledger.database does.
    """
    with connect(url) as conn:
        conn.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(login)))
        if role is not None:
            conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        yield conn


def check_chain(conn: Connection, after: int = 0) -> list[Any]:
    """Return the events from position `after` + 1 on, after recomputing everything that a chain promises from the rows.

    Read in one snapshot, because a worker may go on appending.
    """
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with conn.cursor(row_factory=namedtuple_row) as cursor:
            rows: list[Any] = cursor.execute(
                "SELECT e.*, s.salts::text, s.fields FROM events e LEFT JOIN sealed_fields s USING (position)"
                " WHERE position >= %s ORDER BY position",
                [after],
            ).fetchall()
            (head,) = cast("list[Any]", cursor.execute("SELECT * FROM head").fetchall())
        erased = dict(conn.execute("SELECT stream, position FROM erased_streams"))
        check_versions(conn)
    before = rows.pop(0) if after else None
    link = before.hash if before else hashes.genesis_hash(head.origin)
    at = before.recorded_at if before else EPOCH
    for position, row in enumerate(rows, after + 1):
        assert (row.position, row.prev_hash) == (position, link)
        assert row.recorded_at >= at
        at, link = row.recorded_at, row.hash
        assert link == hashes.event_hash(row.prev_hash, position, row.version, microseconds(at), row.body.encode())
        check_columns(row, erased=position < erased.get(row.stream, 0))
    assert (head.position, head.hash, head.recorded_at) == (after + len(rows), link, at)
    return rows


def check_columns(row: Any, *, erased: bool = False) -> None:
    """Assert that the columns agree with the body, and the sealed values with its commitments; erased ones are gone."""
    body = json.loads(row.body)
    assert (str(row.id), row.stream, row.type) == (body["id"], body["stream"], body["type"])
    if erased:
        assert (row.salts, row.fields) == (None, None)
        return
    salts, fields = json.loads(row.salts or "{}"), row.fields or {}
    assert salts.keys() == fields.keys()
    opened = {name: hashes.commitment(name, bytes.fromhex(salts[name]), canonical(fields[name])) for name in fields}
    assert opened == body.get("sealed", {})


def check_versions(conn: Connection) -> None:
    """Assert that versions count 1, 2, 3… in each stream, in the order of positions."""
    wrong = conn.execute(
        "SELECT stream, version FROM (SELECT stream, version,"
        " row_number() OVER (PARTITION BY stream ORDER BY position) AS nth FROM events) e WHERE version <> nth"
    ).fetchall()
    assert wrong == []


def microseconds(at: datetime) -> int:
    """Return the exact microseconds since 1970."""
    return (at - EPOCH) // timedelta(microseconds=1)
