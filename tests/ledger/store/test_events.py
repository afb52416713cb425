"""The event table from the request path: rows as values, the database's refusals as the ledger's own errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from ledger import database
from ledger.database import AsyncConnection
from ledger.errors import (
    BY_SQLSTATE,
    ClientConflict,
    CommitmentMismatch,
    IdConflict,
    Immutable,
    InvalidEvent,
    LedgerError,
    Unavailable,
    VersionConflict,
    from_database,
)
from ledger.store import events as store
from ledger.store.envelope import Line, encode
from ledger.store.events import Receipt, StoreFailed
from tests.support import CLERK, check_chain, connect, failed, fresh_ledger, new, requested

COLUMNS = ("position", "id", "stream", "version", "recorded_at", "hash")


@pytest.fixture(scope="module")
def ledger(server_url: str) -> Iterator[str]:
    """A ledger that the tests of this module share."""
    with fresh_ledger(server_url) as url:
        yield url


@asynccontextmanager
async def opened(url: str, role: str = "writer") -> AsyncIterator[AsyncConnection]:
    """An async connection as the writer makes it."""
    async with await psycopg.AsyncConnection.connect(database.conninfo(url, role), autocommit=True) as conn:
        yield conn


def run(url: str, *batches: list[Line], role: str = "writer") -> list[Receipt]:
    """Append the batches through one connection, and return the receipts of the last."""

    async def main() -> list[Receipt]:
        found: list[Receipt] = []
        async with opened(url, role) as conn:
            for batch in batches:
                found = await store.append(conn, batch)
        return found

    return asyncio.run(main())


def test_recorded_is_what_the_table_has(ledger: str) -> None:
    """append() says of each event exactly what is in its row, as Python values, and whether it was there before."""
    events = [new("values-", requested()), new("values")]
    lines = [encode(event) for event in events]
    first = run(ledger, lines)
    assert [(row.id, row.stream, row.version) for row in first] == [
        (events[0].id, "values-1", 1),
        (events[1].id, "values", 1),
    ]
    with connect(ledger) as conn:
        rows = check_chain(conn, first[0].position - 1)
    for found, row in zip(first, rows, strict=True):
        assert found == Receipt(
            row.position, row.id, row.stream, row.version, row.recorded_at, row.hash, replayed=False
        )
    assert [(row.position, row.replayed) for row in run(ledger, lines)] == [(row.position, True) for row in first]


def test_text_arrives_whole(ledger: str) -> None:
    """Quotes, backslashes, line breaks, percent signs and other scripts in values do not disturb the batch."""
    awkward = "a'b\"c\\d\r\ne %s \\n {} \u2028 ünïcödé \U0001f600"
    (found,) = run(ledger, [encode(new("awkward", requested("client-1", notes=awkward)))])
    with connect(ledger) as conn:
        (row,) = check_chain(conn, found.position - 1)
    assert row.fields == {"client_id": "client-1", "notes": awkward}


def conflicting_id() -> list[list[Line]]:
    """An id, and the same again with other content."""
    event = new("conflicting")
    return [[encode(event)], [encode(new("conflicting", failed("other"), id=event.id))]]


def doubled_id() -> list[list[Line]]:
    """An id twice in one batch."""
    event = encode(new("doubled"))
    return [[event, event]]


def short_salt() -> Line:
    """A line whose sealed value has a salt of 31 bytes."""
    line = encode(new("c", requested()))
    return replace(line, sealed=(replace(line.sealed[0], salt=bytes(31)),))


REFUSALS: dict[str, tuple[type[LedgerError], Callable[[], list[list[Line]]]]] = {
    "malformed": (InvalidEvent, lambda: [[replace(encode(new("s")), head="{")]]),
    "not an object": (InvalidEvent, lambda: [[replace(encode(new("s")), head="[]")]]),
    "incomplete": (InvalidEvent, lambda: [[replace(encode(new("s")), head='{"a":1')]]),
    "out of bounds": (InvalidEvent, lambda: [[encode(new("s" * 201))]]),
    "id": (IdConflict, conflicting_id),
    "id twice": (IdConflict, doubled_id),
    "version": (VersionConflict, lambda: [[encode(new("no-such", expected=4))]]),
    "commitment": (CommitmentMismatch, lambda: [[short_salt()]]),
    "client": (ClientConflict, lambda: [[encode(new("two", requested("a"))), encode(new("two", requested("b")))]]),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_are_the_ledgers_own_errors(ledger: str, case: str) -> None:
    """Each refusal of the database is exactly one class of ledger.errors, with the database's words."""
    kind, batches = REFUSALS[case]
    with pytest.raises(LedgerError) as caught:
        run(ledger, *batches())
    assert type(caught.value) is kind
    assert str(caught.value)


def test_a_version_conflict_says_what_was_there(ledger: str) -> None:
    """The detail of a conflict names line, id, stream, what was expected and what is."""
    event = new("detailed", expected=2)
    with pytest.raises(VersionConflict) as caught:
        run(ledger, [encode(new("detailed"))], [encode(new("else")), encode(event)])
    assert caught.value.detail == {"line": 2, "id": str(event.id), "stream": "detailed", "expected": "2", "actual": 1}


def test_a_connection_outlives_a_refusal(ledger: str) -> None:
    """After a refusal the same connection appends on."""

    async def main() -> int:
        async with opened(ledger) as conn:
            with pytest.raises(VersionConflict):
                await store.append(conn, [encode(new("outlives", expected=9))])
            return (await store.append(conn, [encode(new("outlives"))]))[0].version

    assert asyncio.run(main()) == 1


def test_what_the_ledger_has_no_name_for_is_a_fault(ledger: str) -> None:
    """An error that no caller can cause, such as a missing right, is StoreFailed and names its SQLSTATE."""
    with pytest.raises(StoreFailed, match="42501"):
        run(ledger, [encode(new("x"))], role="reader")


def test_a_broken_connection_is_unavailable(ledger: str) -> None:
    """A connection that the server ends is Unavailable: the outcome is not known."""

    async def main() -> None:
        async with opened(ledger) as conn:
            with connect(ledger) as admin:
                admin.execute("SELECT pg_terminate_backend(%s)", [conn.info.backend_pid])
            with pytest.raises(Unavailable):
                await store.append(conn, [encode(new("x"))])

    asyncio.run(main())


def test_streams_come_in_the_order_asked_for(ledger: str) -> None:
    """Streams come in the requested order, their events by version, and an unknown stream is empty."""
    events = [new("typed", requested()), new("between"), new("typed", failed())]
    run(ledger, [encode(event) for event in events])

    async def main() -> None:
        async with opened(ledger, "reader") as conn:
            none, between, typed = await store.streams(conn, "no-such-stream", "between", "typed")
            assert (none, [past.id for past in between]) == ([], [events[1].id])
            assert [(past.type, past.version) for past in typed] == [("portfolio.requested", 1), ("request.failed", 2)]
            assert [past.id for past in typed] == [events[0].id, events[2].id]
            assert (typed[1].by, typed[1].data, typed[1].causation) == (CLERK.id, {"reason": "no-answer"}, None)
            assert await store.locate(conn, typed[1].position) == ("typed", "request.failed", events[2].id)
            assert await store.locate(conn, typed[1].position + 1) is None

    asyncio.run(main())


def test_an_event_is_found_by_id_or_position(ledger: str) -> None:
    """An event is found by its id, with its sealed values, and those alone by position; nothing where nothing is."""
    event = new("found", requested(notes="n"))
    [at] = run(ledger, [encode(event)])

    async def main() -> None:
        async with opened(ledger, "reader") as conn:
            found, missing = await store.find(conn, [event.id, new("x").id])
            assert found is not None
            assert missing is None
            receipt, recorded = found
            assert receipt == replace(at, replayed=True)
            assert (recorded.type, recorded.content["id"]) == ("portfolio.requested", str(event.id))
            assert recorded.fields == {"client_id": "client-1", "notes": "n"}
            assert await store.sealed(conn, at.position) == recorded.fields
            assert await store.sealed(conn, at.position + 1) == {}

    asyncio.run(main())


@pytest.mark.parametrize("sqlstate", BY_SQLSTATE)
def test_the_table_of_errors_is_complete(ledger: str, sqlstate: str) -> None:
    """Every SQLSTATE in the table becomes its class; AL006, which append() never meets, among them."""
    refusal = sql.SQL("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = {}, MESSAGE = 'said'; END $$")
    with connect(ledger) as conn, pytest.raises(psycopg.Error) as caught:
        conn.execute(refusal.format(sql.Literal(sqlstate)))
    found = from_database(caught.value)
    assert type(found) is BY_SQLSTATE[sqlstate]
    assert str(found) == "said"
    assert BY_SQLSTATE["AL006"] is Immutable
