"""The events that are appended: requests and answers as the product records them, and one type without sealed fields."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import psycopg
import uvloop
from psycopg import sql

from ledger import store
from ledger.database import conninfo
from ledger.envelope import Actor, NewEvent, encode, uuid7
from schema.events import Constraints, Event, PortfolioRequested, RecommendationRecorded
from tests.bench.bench import SPAWN, Bench, connect

BATCH = 1000
BODY_BYTES = 600
# A client has ten requests and ten answers on average.
EVENTS_PER_CLIENT = 20

ADVISOR = Actor(id="advisor-17", kind="human", role="advisor")
AGENT = Actor(id="builtin", kind="agent", role="agent", on_behalf_of="advisor-17")
CLASSES = [
    "commodities", "crypto_assets", "emerging_equity", "high_yield_bonds", "leveraged_funds", "private_equity",
    "real_estate", "single_stocks", "structured_products", "timber_and_farmland",
]  # fmt: skip
ANSWER = {
    "kind": "model-portfolio",
    "summary": "Model portfolio balanced/long: equity 0.6000, cash 0.0500.",
    "allocations": [
        {"asset_class": "us_equity", "weight": "0.3500", "amount_usd": "87500.00"},
        {"asset_class": "international_equity", "weight": "0.2500", "amount_usd": "62500.00"},
        {"asset_class": "government_bonds", "weight": "0.2000", "amount_usd": "50000.00"},
        {"asset_class": "corporate_bonds", "weight": "0.1500", "amount_usd": "37500.00"},
        {"asset_class": "cash", "weight": "0.0500", "amount_usd": "12500.00"},
    ],
    "limitations": ["This is not investment advice: a person has to judge it and answer for it."],
}
PARAMETERS = {
    "policy_version": "1.0.0",
    "policy_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "temperature": "0.0",
    "context": "earlier recommendations to this client: 3; newest at position 41287",
}


class Noted(Event):
    """A type of the benchmark's own, as the catalogue has none of this size without a sealed field."""

    type = "bench.noted"
    schema_version = 1

    text: str


def noted(number: int) -> NewEvent:
    """An event without sealed fields and with a body of BODY_BYTES; ten to a stream."""
    return NewEvent(uuid7(), f"bench-{number // 10}", Noted(text="n" * (BODY_BYTES - 222)), ADVISOR)


def requested(client_id: str, *, stream: str = "request-") -> NewEvent:
    """A request as the API records it, with one sealed field and a body of about BODY_BYTES."""
    event = PortfolioRequested.model_construct(
        client_id=client_id,
        risk_profile="balanced",
        amount_usd=250_000,  # type: ignore[arg-type]
        horizon_years=12,
        constraints=Constraints.model_construct(exclude_asset_classes=CLASSES),
    )
    return NewEvent(uuid7(), stream, event, ADVISOR, "no_stream")


def recommended(request_id: int) -> NewEvent:
    """The answer to a request, sealed."""
    event = RecommendationRecorded.model_construct(
        recommendation=ANSWER, model_name="builtin-model-portfolios", model_version="1.0.0", parameters=PARAMETERS
    )
    return NewEvent(uuid7(), f"request-{request_id}", event, AGENT, 1)


def clients(events: int) -> int:
    """How many clients a history of so many events has."""
    return max(1, events // EVENTS_PER_CLIENT)


def client_name(number: int) -> str:
    """The id of a client, 0 to clients() - 1."""
    return f"client-{number:07}"


def history(first_request: int, events: int, among: int) -> Iterator[list[NewEvent]]:
    """Batches for a ledger whose next request is `first_request`: half requests, half the answers to the batch before.

    `among` is the number of clients. The requests of the last batch stay without an answer.
    """
    drawn = random.Random(first_request)
    open_requests: list[int] = []
    number = first_request
    while events > 0:
        batch = [recommended(request_id) for request_id in open_requests[:events]]
        fresh = min(events - len(batch), BATCH // 2)
        batch += [requested(client_name(drawn.randrange(among))) for _ in range(fresh)]
        open_requests = list(range(number, number + fresh))
        number += fresh
        events -= len(batch)
        yield batch


def encoded(first_request: int, events: int, among: int) -> list[list[bytes]]:
    """history() as lines for append()."""
    return [[encode(new) for new in batch] for batch in history(first_request, events, among)]


def fill(bench: Bench, url: str, events: int, *, first_request: int = 1, among: int | None = None) -> None:
    """Appends a history through append(), encoded in another process, and leaves the tables as vacuum would."""
    among = among or clients(events)
    bench.say(f"  filling a ledger with {events:,} events")
    uvloop.run(_append_all(url, first_request, events, among))
    with connect(url) as conn:
        conn.execute("VACUUM ANALYZE")
        conn.execute("CHECKPOINT")


async def _append_all(url: str, first_request: int, events: int, among: int) -> None:
    chunk = 20 * BATCH
    writer = conninfo(url, "writer")
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        # A chunk's requests are numbered from the one before it; each chunk but the last adds as many.
        starts = _chunks(first_request, events, chunk)
        waiting = [pool.submit(encoded, start, size, among) for start, size in starts[:2]]
        async with await psycopg.AsyncConnection.connect(writer, autocommit=True) as conn:
            for index in range(len(starts)):
                for lines in waiting[index].result():
                    await store.append(conn, lines)
                waiting[index].cancel()
                if index + 2 < len(starts):
                    waiting.append(pool.submit(encoded, *starts[index + 2], among))


def _chunks(first_request: int, events: int, chunk: int) -> list[tuple[int, int]]:
    """(first request, events) of each chunk."""
    found = []
    while events > 0:
        size = min(chunk, events)
        found.append((first_request, size))
        first_request += sum(1 for batch in history(first_request, size, 1) for new in batch if new.stream == "request-")
        events -= size
    return found
