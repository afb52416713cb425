"""What the database tests share: events to append, connections in a role, and the chain recomputed from the rows."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator
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
from ledger.database import Connection
from ledger.proof.format import hashes
from ledger.proof.format.canonical import canonical
from ledger.store.envelope import Actor, Expected, NewEvent, encode, uuid7
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


def connect(url: str, role: str | None = None, **settings: str) -> Connection:
    """A connection in autocommit mode that acts as the ledger's role; None keeps the login's rights (a superuser's)."""
    return psycopg.connect(database.conninfo(url, role, **settings), autocommit=True)


def requested(client_id: str = "client-1", **fields: Any) -> PortfolioRequested:
    """An event with a sealed field that ties its stream to a client."""
    return PortfolioRequested.model_validate(
        {"client_id": client_id, "risk_profile": "balanced", "amount_usd": 1000, **fields}
    )


def failed(reason: str = "no-answer", **fields: Any) -> RequestFailed:
    """An event without sealed fields, unless `detail` is given."""
    return RequestFailed(reason=reason, **fields)


def new(stream: str, event: Event | None = None, *, id: UUID | None = None, expected: Expected = "any") -> NewEvent:  # noqa: A002
    """An event for `stream`, by default the smallest there is, with an id of its own."""
    return NewEvent(id or uuid7(), stream, event or failed(), CLERK, expected)


def line(event: NewEvent) -> str:
    """The event as a line of a batch."""
    return encode(event).decode()


def append(conn: Connection, *events: NewEvent) -> list[Any]:
    """The rows of append() for these events: line, position, id, stream, version, recorded_at, hash, replayed."""
    return append_text(conn, "\n".join(map(line, events)))


def append_text(conn: Connection, batch: str) -> list[Any]:
    """The rows of append() for a batch as it goes over the wire."""
    with conn.cursor(row_factory=namedtuple_row) as cursor:
        return cursor.execute("SELECT * FROM append(%s)", [batch]).fetchall()


def edited(event: NewEvent, **changes: Any) -> str:
    """The line of `event` with members of it replaced; a callable gets the member and gives back another."""
    found = json.loads(encode(event))
    for name, change in changes.items():
        found[name] = change(found.get(name)) if callable(change) else change
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


@dataclass
class Refusal:
    """The error that a block met, for a look at its message and detail."""

    error: psycopg.Error | None = None

    @property
    def message(self) -> str:
        """What the database said."""
        assert self.error is not None
        return self.error.diag.message_primary or ""

    @property
    def detail(self) -> dict[str, Any]:
        """DETAIL, which append() writes as JSON."""
        assert self.error is not None
        found = json.loads(self.error.diag.message_detail or "{}")
        assert isinstance(found, dict)
        return found


@contextlib.contextmanager
def refused(sqlstate: str) -> Iterator[Refusal]:
    """Asserts that the block is refused by the database with exactly this SQLSTATE."""
    refusal = Refusal()
    with pytest.raises(psycopg.Error) as caught:
        yield refusal
    refusal.error = caught.value
    assert caught.value.sqlstate == sqlstate, f"{caught.value.sqlstate}: {caught.value}"


@contextlib.contextmanager
def scratch_database(server_url: str, *, options: str = "") -> Iterator[str]:
    """The URL of an empty database, gone afterwards. `options` go to CREATE DATABASE, word by word."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} ").format(sql.Identifier(name)) + sql.SQL(options))
        try:
            yield make_conninfo(server_url, dbname=name)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextlib.contextmanager
def fresh_ledger(server_url: str) -> Iterator[str]:
    """The URL of an empty ledger that a module's tests share; its chain is checked when they are done."""
    with scratch_database(server_url) as url:
        with connect(url) as conn:
            migrate(conn)
        yield url
        with connect(url) as conn:
            check_chain(conn)


@contextlib.contextmanager
def login_role(url: str, *attributes: str, member_of: str | None = None) -> Iterator[str]:
    """The name of a LOGIN role with no rights but those of `member_of`; gone afterwards, with what it owns in `url`."""
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
def session_of(url: str, login: str, role: str | None = None) -> Iterator[Connection]:
    """A session that has the rights of `login` and no others, whatever passwords the server wants of it.

    With `role` it goes on to act as that one of the ledger's roles, as ledger.database does.
    """
    with connect(url) as conn:
        conn.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(login)))
        if role is not None:
            conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        yield conn


def check_chain(conn: Connection, after: int = 0) -> list[Any]:
    """The events from position `after` + 1 on, once all that a chain promises was recomputed from the rows.

    All in one snapshot: a worker may go on appending meanwhile.
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
        check_versions(conn)
    before = rows.pop(0) if after else None
    link = before.hash if before else hashes.genesis_hash(head.origin)
    at = before.recorded_at if before else EPOCH
    for position, row in enumerate(rows, after + 1):
        assert (row.position, row.prev_hash) == (position, link)
        assert row.recorded_at >= at
        at, link = row.recorded_at, row.hash
        assert link == hashes.event_hash(row.prev_hash, position, row.version, microseconds(at), row.body.encode())
        check_columns(row)
    assert (head.position, head.hash, head.recorded_at) == (after + len(rows), link, at)
    return rows


def check_columns(row: Any) -> None:
    """The columns say what the body says, and the sealed values are those that it commits to."""
    body = json.loads(row.body)
    assert (str(row.id), row.stream, row.type) == (body["id"], body["stream"], body["type"])
    salts, fields = json.loads(row.salts or "{}"), row.fields or {}
    assert salts.keys() == fields.keys()
    opened = {name: hashes.commitment(name, bytes.fromhex(salts[name]), canonical(fields[name])) for name in fields}
    assert opened == body.get("sealed", {})


def check_versions(conn: Connection) -> None:
    """Versions count 1, 2, 3… in each stream, in the order of positions."""
    wrong = conn.execute(
        "SELECT stream, version FROM (SELECT stream, version,"
        " row_number() OVER (PARTITION BY stream ORDER BY position) AS nth FROM events) e WHERE version <> nth"
    ).fetchall()
    assert wrong == []


def microseconds(at: datetime) -> int:
    """Since 1970, exactly."""
    return (at - EPOCH) // timedelta(microseconds=1)
