"""The transaction of an erasure: killed at any step, repeated, beside writers, and in all read models."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from api.services import ERASING
from ledger.database import Connection, conninfo
from ledger.domain.retention import Retention, RetentionClass
from ledger.erasure.eraser import Eraser
from ledger.errors import Refused, Unavailable
from ledger.service.ledger import Ledger
from ledger.service.open_ledger import LedgerParts, open_ledger
from ledger.service.policies import Policies
from ledger.store.envelope import Actor, uuid7
from ledger.verify.database import verify_chain
from projections import compare, erased
from projections.engine import fold_again
from projections.erased import read_models_folded_again
from projections.projector import Projector
from projections.read_model import ReadModel
from projections.registry import READ_MODELS
from projections.set_aside import SetAside
from schema.events import RequestErasure
from tests.api.http.test_erasure import holding
from tests.projections.scenes import catch_up
from tests.support import append, connect, failed, new, requested

ANN, BOB = (Actor(name, "human", "compliance") for name in ("ann", "bob"))
NOTHING = {"none": RetentionClass.model_validate({"years": 0, "from": "event", "counts": "days"})}
KEEPS_NOTHING = replace(
    Policies.packaged(), retention=replace(Retention.load(), classes=NOTHING, types={}, other="none")
)
WORDS = "Gone-Forever"
STEPS = ("before", "locked", "erased", "first folded", "half folded", "folded")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Ledger]:
    """Open a ledger that can erase, and whose policy keeps nothing."""
    async with open_ledger(LedgerParts(url, policies=KEEPS_NOTHING, erasing=ERASING, patience_s=20)) as ledger:
        yield ledger


async def asked(ledger: Ledger, url: str, client_id: str = WORDS) -> tuple[int, int]:
    """Make a client with two requests, and request its erasure. Return its number, and the erasure's id."""
    ask = requested(client_id, notes=f"{client_id} notes")
    receipt = await ledger.requests.request_recommendation(ANN, ask)
    await ledger.requests.request_recommendation(ANN, ask)
    number = await ledger.clients.number(client_id)
    assert number is not None
    with connect(url) as conn:
        append(conn, new(receipt.stream, failed("refused")))
        catch_up(conn)
    request = await ledger.erasures.request(ANN, number, RequestErasure(reason="client-request"))
    with connect(url) as conn:
        catch_up(conn)
    return number, request.position


def state(url: str) -> dict[str, Any]:
    """Return what an erasure changes."""
    tables = ["events", "sealed_fields", "stream_clients", "erased_streams", *(one.name for one in READ_MODELS)]
    query = sql.SQL("SELECT t::text FROM {} t ORDER BY 1")
    with connect(url) as conn:
        return {name: conn.execute(query.format(sql.Identifier(name))).fetchall() for name in tables}


def check(url: str) -> None:
    """Assert that chain, side tables and read models hold."""
    with connect(url, "verifier") as conn:
        report = verify_chain(conn)
        assert report.ok, report.findings
        for read_model in READ_MODELS:
            assert compare.check(conn, read_model).differences == ()


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_it_is_as_if_never_begun(
    database_url: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session is ended at a step: no event, no value and no row has changed. The same command then finishes."""

    def kill(conn: Connection, now: str) -> None:
        if now == step:
            with connect(database_url) as admin:
                admin.execute("SELECT pg_terminate_backend(%s, 10000)", [conn.info.backend_pid])

    folded: list[str] = []

    def counting(conn: Connection, read_model: ReadModel, streams: Sequence[str], upto: int) -> list[SetAside]:
        found = fold_again(conn, read_model, streams, upto)
        folded.append(read_model.name)
        kill(conn, {1: "first folded", len(READ_MODELS) // 2: "half folded"}.get(len(folded), ""))
        return found

    @contextmanager
    def killing(conn: Connection, streams: Sequence[str]) -> Iterator[None]:
        kill(conn, "before")
        with read_models_folded_again(conn, streams):
            kill(conn, "locked")
            yield
            kill(conn, "erased")
        kill(conn, "folded")

    async def run() -> None:
        async with opened(database_url) as ledger:
            _, erasure = await asked(ledger, database_url)
            before = state(database_url)
            monkeypatch.setattr(erased, "fold_again", counting)
            dying = ledger.erasures.by(Eraser(conninfo(database_url, "eraser"), killing), ERASING.family)
            with pytest.raises(Unavailable):
                await dying.confirm(BOB, erasure, uuid7())
            monkeypatch.undo()
            assert state(database_url) == before
            await ledger.erasures.confirm(BOB, erasure)
        assert holding(database_url, WORDS) == []

    asyncio.run(run())
    with connect(database_url) as conn:
        catch_up(conn)
    check(database_url)


def test_an_answer_that_got_lost_is_given_again(database_url: str) -> None:
    """The transaction is committed and its connection lost: the same command, sent again, records nothing twice."""

    class Losing(Eraser):
        """Commits, and tells nobody."""

        async def erase(self, lines: Any, seen: int) -> Any:
            """Erase, and fail."""
            await super().erase(lines, seen)
            raise Unavailable("the database does not answer; try again")

    async def run() -> None:
        async with opened(database_url) as ledger:
            number, erasure = await asked(ledger, database_url)
            losing = Losing(conninfo(database_url, "eraser"), read_models_folded_again)
            key = uuid7()
            with pytest.raises(Unavailable):
                await ledger.erasures.by(losing, ERASING.family).confirm(BOB, erasure, key)
            after = state(database_url)
            receipt = await ledger.erasures.confirm(BOB, erasure, key)
            assert (receipt.replayed, receipt.stream, receipt.id) == (True, f"client-{number}", key)
            assert state(database_url) == after

    asyncio.run(run())


def test_others_write_meanwhile(database_url: str) -> None:
    """Writers in two processes, about this client and others: no value of an erased stream is left or comes back."""
    stop = threading.Event()

    async def write(ledger: Ledger, client_id: str, most: int) -> None:
        for _ in range(most):
            if stop.is_set():
                return
            await ledger.requests.request_recommendation(ANN, requested(client_id, notes=client_id))

    async def run() -> None:
        async with opened(database_url) as first, opened(database_url) as second, asyncio.timeout(120):
            number, erasure = await asked(first, database_url)
            assert await second.clients.number(WORDS) == number
            writers = [
                asyncio.create_task(write(ledger, client_id, most))
                for ledger in (first, second)
                for client_id, most in ((WORDS, 10), ("Others-Stay", 10_000))
            ]
            receipt = None
            while receipt is None:
                with contextlib.suppress(Refused):  # busy: the client got another request each time
                    receipt = await first.erasures.confirm(BOB, erasure)
            # The other process has the number in its memory.
            later = await second.requests.request_recommendation(ANN, requested(WORDS, notes=WORDS))
            stop.set()
            await asyncio.gather(*writers)
            again = await second.clients.number(WORDS)
            assert again not in {None, number}
            event = await second.requests.executor.first(later.stream)
            assert event is not None
            assert event.data["client"] == again
            await finish(database_url, receipt.position)

    projector = Projector(database_url)
    projector.start()
    try:
        asyncio.run(run())
    finally:
        projector.stop()
    check(database_url)


async def finish(url: str, erased_at: int) -> None:
    """Assert that no stream that was erased has a value or a later event, and that there are such streams."""
    with connect(url) as conn:
        rows = conn.execute(
            "SELECT e.stream, max(e.version) = max(e.version) FILTER (WHERE e.position = x.position),"
            " count(s.position), count(c.stream)"
            " FROM erased_streams x JOIN events e USING (stream) LEFT JOIN sealed_fields s ON s.position = e.position"
            " LEFT JOIN stream_clients c USING (stream) GROUP BY e.stream"
        ).fetchall()
        (last,) = conn.execute("SELECT max(position) FROM erased_streams").fetchone() or (0,)
    assert last == erased_at
    assert len(rows) >= 3
    assert all((ends, values, index) == (True, 0, 0) for _, ends, values, index in rows)


def test_an_alias_that_comes_meanwhile_is_seen(database_url: str) -> None:
    """Between the look and the transaction, the client gets another identifier: that is erased with it."""

    class Slow(Eraser):
        """Lets an alias in before its first transaction."""

        ledger: Ledger
        number: int

        async def erase(self, lines: Any, seen: int) -> Any:
            """Erase, after an alias."""
            if self.number:
                number, self.number = self.number, 0
                await self.ledger.clients.alias(ANN, number, f"{WORDS} alias")
                with connect(database_url) as conn:
                    catch_up(conn)
            return await super().erase(lines, seen)

    async def run() -> None:
        async with opened(database_url) as ledger:
            number, erasure = await asked(ledger, database_url)
            slow = Slow(conninfo(database_url, "eraser"), read_models_folded_again)
            slow.ledger, slow.number = ledger, number
            await ledger.erasures.by(slow, ERASING.family).confirm(BOB, erasure)
            with pytest.raises(Refused, match="erased"):
                await ledger.clients.alias(ANN, number, "another")
        assert holding(database_url, WORDS) == []

    asyncio.run(run())


def test_nothing_else_deletes(database_url: str) -> None:
    """The owner deletes nothing without an event; the function takes no other event, and none that one person makes."""

    async def run() -> tuple[int, int]:
        async with opened(database_url) as ledger:
            return await asked(ledger, database_url)

    asyncio.run(run())
    refused = (
        "DELETE FROM sealed_fields",
        "DELETE FROM stream_clients",
        "TRUNCATE sealed_fields",
        "UPDATE sealed_fields SET fields = '{}'",
        "INSERT INTO erased_streams SELECT stream, position FROM events WHERE type = 'erasure.requested'",
        "INSERT INTO erased_streams SELECT stream, position FROM events",
    )
    with connect(database_url) as owner:
        for statement in refused:
            with pytest.raises(psycopg.Error) as caught:
                owner.execute(statement.encode())
            assert caught.value.sqlstate == "AL006", statement
    with connect(database_url, "writer") as writer, pytest.raises(psycopg.errors.InsufficientPrivilege):
        writer.execute("DELETE FROM sealed_fields")
    check(database_url)


def test_an_event_about_an_erased_client_is_refused_by_the_database(database_url: str) -> None:
    """In its streams, and with its number, whoever appends: nothing can be sealed there again."""

    async def run() -> int:
        async with opened(database_url) as ledger:
            number, erasure = await asked(ledger, database_url)
            await ledger.erasures.confirm(BOB, erasure)
            return number

    number = asyncio.run(run())
    with connect(database_url, "writer") as conn:
        named = requested("another").model_copy(update={"client": number})
        for stream, event in (("request-1", failed("refused")), (f"client-{number}", failed()), ("request-", named)):
            with pytest.raises(psycopg.Error) as caught:
                append(conn, new(stream, event))
            assert caught.value.sqlstate == "AL013"
