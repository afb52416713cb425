"""The events that are appended: requests and answers as the product records them, and a type with nothing sealed."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal

import psycopg
import uvloop
from pydantic import JsonValue

from ledger.database import conninfo
from ledger.store import events as store
from ledger.store.envelope import Actor, Line, NewEvent, encode, uuid7
from schema.events import Event, PortfolioRequested, RecommendationRecorded
from schema.fields import Constraints
from tests.bench.bench import SPAWN, Bench, connect

BATCH = 1000
CHUNK = 20 * BATCH
BODY_BYTES = 600
# A client has ten requests and ten answers on average.
EVENTS_PER_CLIENT = 20

ADVISOR = Actor(id="advisor-17", kind="human", role="advisor")
AGENT = Actor(id="builtin", kind="agent", role="agent", on_behalf_of="advisor-17")
CLASSES = [
    "catastrophe_bonds", "collectibles", "commodities", "crypto_assets", "emerging_equity", "high_yield_bonds",
    "leveraged_funds", "private_equity", "real_estate", "single_stocks", "structured_products", "timber_and_farmland",
]  # fmt: skip
ANSWER: dict[str, JsonValue] = {
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
AMOUNT = Decimal("250000.00")
PARAMETERS: dict[str, JsonValue] = {
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
    return NewEvent(uuid7(), f"bench-{number // 10}", Noted(text="n" * (BODY_BYTES - 175)), ADVISOR)


def requested(client_id: str, *, stream: str = "request-") -> NewEvent:
    """A request as the API records it, with one sealed field and a body of about BODY_BYTES."""
    event = PortfolioRequested.model_construct(
        client_id=client_id,
        risk_profile="balanced",
        amount_usd=AMOUNT,
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
    """Return the number of clients in a history of `events` events."""
    return max(1, events // EVENTS_PER_CLIENT)


def client_name(number: int) -> str:
    """The id of a client, 0 to clients() - 1."""
    return f"client-{number:07}"


def plan(events: int) -> list[tuple[int, int]]:
    """Return (answers, requests) of each batch of a history. A batch answers the requests before it."""
    found = []
    answers = 0
    while events > 0:
        answers = min(answers, events)
        requests = min(events - answers, BATCH // 2)
        found.append((answers, requests))
        events -= answers + requests
        answers = requests
    return found


def history(first_request: int, events: int, among: int) -> Iterator[list[NewEvent]]:
    """Yield the batches of plan() for a ledger whose next request is `first_request`, with random clients."""
    drawn = random.Random(first_request)
    number = first_request
    for answers, requests in plan(events):
        batch = [recommended(request_id) for request_id in range(number - answers, number)]
        batch += [requested(client_name(drawn.randrange(among))) for _ in range(requests)]
        number += requests
        yield batch


def encoded(first_request: int, events: int, among: int) -> list[list[Line]]:
    """history() as lines for append()."""
    return [[encode(new) for new in batch] for batch in history(first_request, events, among)]


def chunks(first_request: int, events: int) -> Iterator[tuple[int, int]]:
    """(first request, events) of histories that follow each other, each small enough to be held in memory."""
    while events > 0:
        size = min(CHUNK, events)
        yield first_request, size
        first_request += sum(requests for _, requests in plan(size))
        events -= size


def fill(bench: Bench, url: str, events: int, *, first_request: int = 1, among: int | None = None) -> None:
    """Appends a history through append(), encoded in another process, and leaves the tables as vacuum would."""
    bench.say(f"filling a ledger with {events:,} events")
    uvloop.run(_append_all(url, list(chunks(first_request, events)), among or clients(events)))
    with connect(url) as conn:
        conn.execute("VACUUM ANALYZE")
        conn.execute("CHECKPOINT")


async def _append_all(url: str, todo: list[tuple[int, int]], among: int) -> None:
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        ahead = deque(pool.submit(encoded, *chunk, among) for chunk in todo[:2])
        async with await psycopg.AsyncConnection.connect(conninfo(url, "writer"), autocommit=True) as conn:
            for index in range(len(todo)):
                for lines in ahead.popleft().result():
                    await store.append(conn, lines)
                if index + 2 < len(todo):
                    ahead.append(pool.submit(encoded, *todo[index + 2], among))
