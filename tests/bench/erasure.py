"""Row 16: all values of one client are erased from a ledger of any size, while others write."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import perf_counter

import uvloop

from api.services import ERASING
from ledger.domain.retention import Retention, RetentionClass
from ledger.service.ledger import Ledger
from ledger.service.open_ledger import LedgerParts, open_ledger
from ledger.service.policies import Policies
from ledger.store.envelope import Actor
from projections.projector import Projector
from projections.rebuild import rebuild_outdated
from schema.events import RequestErasure, RequestPortfolio
from tests.bench.bench import Bench, connect
from tests.bench.figures import Figure, Target

ANN, BOB = (Actor(name, "human", "compliance") for name in ("ann", "bob"))
MOST_REQUESTS = 1000
PATIENCE_S = 120.0
TARGET = Target("at most", 10, of="figure")
NOTHING = {"none": RetentionClass.model_validate({"years": 0, "from": "event", "counts": "days"})}
VALUES = "SELECT count(*) FROM sealed_fields s JOIN events e USING (position) WHERE e.stream = ANY (%s)"


def measure(bench: Bench, url: str) -> list[Figure]:
    """On a ledger whose read models are up to date, or will be. Appends to it."""
    rebuild_outdated(url)
    bench.say("row 16: an erasure while others write")
    projector = Projector(url)
    projector.start()
    try:
        return uvloop.run(_measure(bench, url))
    finally:
        projector.stop()


async def _measure(bench: Bench, url: str) -> list[Figure]:
    kept = replace(Retention.load(), classes=NOTHING, types={}, other="none")
    policies = replace(Policies.packaged(), retention=kept)
    parts = LedgerParts(url, policies=policies, erasing=ERASING, patience_s=PATIENCE_S)
    async with open_ledger(parts) as ledger:
        requests = min(MOST_REQUESTS, bench.options.events)
        await _ask(ledger, "client-erased", requests)
        number = await ledger.clients.number("client-erased")
        assert number is not None
        asked = await ledger.erasures.request(ANN, number, RequestErasure(reason="client-request"))
        waits: list[float] = []
        writer = asyncio.create_task(_write(ledger, waits))
        meter, began_s = bench.meter(), perf_counter()
        with meter:
            done = await ledger.erasures.confirm(BOB, asked.position)
        took_s = perf_counter() - began_s
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
    with connect(url) as conn:
        row = conn.execute("SELECT body::json->'data' FROM events WHERE position = %s", [done.position]).fetchone()
        (events,) = conn.execute("SELECT position FROM head").fetchone() or (0,)
    assert row is not None
    detail = {
        "events": events,
        "of_the_client": row[0]["events"],
        "values": row[0]["values"],
        "streams": row[0]["streams"],
        "processor_s": meter.seconds,
        "appends_meanwhile": len(waits),
        "longest_append_s": max(waits, default=0.0),
    }
    cpu_us = meter.us(row[0]["events"])
    return [Figure(16, "one client erased, others write", took_s, "s", target=TARGET, detail=detail, cpu_us=cpu_us)]


async def _ask(ledger: Ledger, client_id: str, count: int) -> None:
    body = RequestPortfolio.model_validate(
        {
            "client_id": client_id,
            "risk_profile": "balanced",
            "amount_usd": "1000.00",
            "notes": "some words of the client",
        }
    )
    for first in range(0, count, 100):
        several = min(100, count - first)
        await asyncio.gather(*(ledger.requests.request_recommendation(ANN, body) for _ in range(several)))


async def _write(ledger: Ledger, waits: list[float]) -> None:
    """Record requests of another client, one after another."""
    while True:
        began_s = perf_counter()
        await _ask(ledger, "client-that-stays", 1)
        waits.append(perf_counter() - began_s)
