"""Clients are registered once, by whoever asks first; what is refused records nothing; nothing names them in clear."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from ledger.database import conninfo
from ledger.domain.client import Registration, is_assigned
from ledger.errors import IdConflict, InvalidEvent, LedgerError, Refused
from ledger.service.ledger import Ledger
from ledger.store.envelope import Actor, uuid7
from ledger.store.readers import Readers
from ledger.store.writer import Writer
from schema.events import ClientAssigned, ClientMerged, ClientRegistered, ClientUnassigned
from schema.fields import Constraints
from tests.support import connect, requested

ANN, BOB = (Actor(name, "human", "advisor") for name in ("ann", "bob"))
NAME = "Jane Doe 1961"


@asynccontextmanager
async def opened(url: str, registration: Registration | None = None, count: int = 1) -> AsyncIterator[list[Ledger]]:
    """Open ledgers on the same database, each with a writer of its own, as processes have."""
    async with AsyncExitStack() as stack:
        ledgers = []
        for _ in range(count):
            writer = Writer(conninfo(url, "writer"), patience_s=20)
            readers = Readers(conninfo(url, "reader"), most=4, patience_s=20)
            await writer.start()
            stack.push_async_callback(writer.close)
            await readers.open()
            stack.push_async_callback(readers.close)
            ledgers.append(Ledger(writer, readers, registration=registration))
        yield ledgers


def types(url: str) -> list[str]:
    """Return stream and type of each event, in order."""
    with connect(url) as conn:
        return [
            f"{stream} {kind}" for stream, kind in conn.execute("SELECT stream, type FROM events ORDER BY position")
        ]


def test_concurrent_first_requests_for_one_client_make_one_client(database_url: str) -> None:
    """Of many first requests in two processes, one registers each client; all requests carry the one number."""

    async def run() -> None:
        async with opened(database_url, count=2) as ledgers:
            names = [f"new {number % 3}" for number in range(30)]
            calls = [
                ledgers[number % 2].requests.request_recommendation(ANN, requested(name))
                for number, name in enumerate(names)
            ]
            assert len({receipt.stream for receipt in await asyncio.gather(*calls)}) == len(names)

    asyncio.run(run())
    with connect(database_url) as conn:
        rows = conn.execute(
            "SELECT c.client_id, e.body::json->'data'->>'client' FROM events e JOIN stream_clients c USING (stream)"
            " WHERE e.type = 'portfolio.requested'"
        ).fetchall()
        numbers = dict(
            conn.execute(
                "SELECT client_id, substr(stream, 8) FROM stream_clients WHERE stream LIKE 'client-%'"
            ).fetchall()
        )
    assert len(rows) == 30
    assert sorted(numbers) == ["new 0", "new 1", "new 2"]
    assert all(numbers[client_id] == number for client_id, number in rows)


def test_a_retry_of_the_first_request_is_recorded_once(database_url: str) -> None:
    """The same command with its key, sent again, also by a process that has not seen the client, adds nothing."""

    async def run() -> None:
        key = uuid7()
        async with opened(database_url, count=2) as (first, second):
            receipt = await first.requests.request_recommendation(ANN, requested(NAME), key)
            again = await second.requests.request_recommendation(ANN, requested(NAME), key)
            assert (again.position, again.replayed) == (receipt.position, True)
            with pytest.raises(IdConflict):
                await second.requests.request_recommendation(ANN, requested("another"), key)

    asyncio.run(run())
    assert types(database_url) == ["client-1 client.registered", "request-1 portfolio.requested"]


def test_what_is_refused_registers_nobody(database_url: str) -> None:
    """A request that cannot be recorded, an identifier of another form, or one that is not known beforehand."""
    crowd = requested(NAME, constraints=Constraints(exclude_asset_classes=["a"]))
    broken = crowd.model_copy(update={"notes": "\0"})

    async def run() -> list[str]:
        found = []
        for registration, body in (
            (Registration(), broken),
            (Registration(pattern=re.compile(r"C-\d+")), crowd),
            (Registration(when="beforehand"), crowd),
        ):
            async with opened(database_url, registration) as (ledger,):
                with pytest.raises(LedgerError) as caught:
                    await ledger.requests.request_recommendation(ANN, body)
                found.append(caught.value.code if isinstance(caught.value, Refused) else type(caught.value).__name__)
        return found

    assert asyncio.run(run()) == ["InvalidEvent", "InvalidEvent", "client-not-registered"]
    assert types(database_url) == []


def test_no_identifier_is_in_clear(database_url: str) -> None:
    """After a registration, an alias, a request and a merge the chain has commitments with fresh salts, no more."""

    async def run() -> None:
        async with opened(database_url) as (ledger,):
            await ledger.requests.request_recommendation(ANN, requested(NAME))
            await ledger.clients.alias(BOB, 1, f"alias of {NAME}")
            await ledger.clients.register(BOB, ClientRegistered(client_id=f"twin of {NAME}"))
            await ledger.clients.merge(BOB, 3, ClientMerged(into=1))

    asyncio.run(run())
    with connect(database_url) as conn:
        assert conn.execute("SELECT count(*) FROM events WHERE body LIKE %s", [f"%{NAME}%"]).fetchall() == [(0,)]
    assert types(database_url) == [
        "client-1 client.registered",
        "request-1 portfolio.requested",
        "client-2 client.aliased",
        "client-3 client.registered",
        "client-3 client.merged",
    ]


def test_refusals_record_nothing(database_url: str) -> None:
    """A second registration, under the name or an alias, and each change that the state does not allow."""

    async def run() -> list[tuple[str, object]]:
        refused: list[tuple[str, object]] = []
        async with opened(database_url) as (ledger,):
            clients = ledger.clients
            await clients.register(ANN, ClientRegistered(client_id="a", subject="ann"))
            await clients.alias(ANN, 1, "b")
            await clients.register(ANN, ClientRegistered(client_id="c"))
            await clients.merge(ANN, 3, ClientMerged(into=1))
            for command in (
                clients.register(BOB, ClientRegistered(client_id="a")),
                clients.register(BOB, ClientRegistered(client_id="b")),
                clients.alias(BOB, 1, "c"),
                clients.alias(BOB, 2, "d"),
                clients.alias(BOB, 9, "d"),
                clients.merge(BOB, 1, ClientMerged(into=3)),
                clients.merge(BOB, 3, ClientMerged(into=1)),
                clients.assign(BOB, 1, ClientAssigned(subject="ann")),
                clients.assign(BOB, 2, ClientAssigned(subject="ann")),
                clients.unassign(BOB, 1, ClientUnassigned(group="ann")),
            ):
                with pytest.raises(Refused) as caught:
                    await command
                refused.append((caught.value.code, caught.value.facts.get("client")))
            with pytest.raises(InvalidEvent):
                await clients.merge(BOB, 1, ClientMerged(into=1))
        return refused

    assert asyncio.run(run()) == [
        ("client-registered", 1),
        ("client-registered", 2),
        ("client-registered", 3),
        ("client-merged", None),
        ("client-unknown", None),
        ("client-merged", None),
        ("client-merged", None),
        ("already-assigned", None),
        ("client-merged", None),
        ("not-assigned", None),
    ]
    assert len(types(database_url)) == 4


def test_merges_at_the_same_time_make_no_cycle(database_url: str) -> None:
    """Of two merges, each into the other, one is recorded and the other refused, whoever comes first."""

    async def run() -> list[object]:
        async with opened(database_url, count=2) as (first, second):
            for name in ("a", "b"):
                await first.clients.register(ANN, ClientRegistered(client_id=name))
            merges = (
                first.clients.merge(ANN, 1, ClientMerged(into=2)),
                second.clients.merge(BOB, 2, ClientMerged(into=1)),
            )
            return list(await asyncio.gather(*merges, return_exceptions=True))

    refused = [one for one in asyncio.run(run()) if isinstance(one, BaseException)]
    assert [one.code for one in refused if isinstance(one, Refused)] == ["client-merged"]
    assert len(types(database_url)) == 3


def test_the_first_request_assigns_the_client_to_its_advisor(database_url: str) -> None:
    """The advisor who asks first is assigned. The next one, who asks for the same client, is not."""

    async def run() -> None:
        async with opened(database_url) as (ledger,):
            await ledger.requests.request_recommendation(ANN, requested(NAME))
            await ledger.requests.request_recommendation(BOB, requested(NAME))
            receipt = await ledger.clients.alias(ANN, 1, "alias")
            lineage = await ledger.clients.executor.lineage(int(receipt.stream.removeprefix("client-")))
            assert [one.number for one in lineage] == [2, 1]
            at = receipt.recorded_at
            assert [is_assigned(lineage, name, (), at) for name in ("ann", "bob")] == [True, False]

    asyncio.run(run())
