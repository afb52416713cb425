"""Make the certificate of an erasure, for HTTP and the command line: docs/formats/erasure-certificate.md."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

from ledger.database import AsyncConnection
from ledger.domain.client import stream_of
from ledger.proof.erasure.certificate import FORMAT
from ledger.proof.format.canonical import parse_object
from ledger.proof.tlog.tlog_proof import TlogProof
from ledger.service.ledger import Ledger
from ledger.tlog.serve.proof_cache import ProofCache
from ledger.tlog.serve.proof_file import encode_proof
from ledger.tlog.serve.tiles import PublishedCheckpoint
from projections.recorded_events import WholeEvent, read_events

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The longest wait for a checkpoint that covers an event. A server signs each second.
COVERED_WITHIN_S = 10.0
LOOK_S = 0.25
FIRST = "SELECT position FROM events WHERE stream = ANY (%s) AND version = 1 ORDER BY position"

# Returns, for a position, a checkpoint that covers the event, and the proof that its tree has the event.
Inclusion = Callable[[int], Awaitable[tuple[PublishedCheckpoint, list[bytes]]]]


class CertifiedEvent(BaseModel):
    """An event as it was recorded, and its tlog-proof."""

    position: int
    version: int
    recorded_at_us: int
    prev_hash: str
    body: str
    proof: str


class Certificate(BaseModel):
    """The certificate of an erasure: docs/formats/erasure-certificate.md."""

    format: str
    origin: str
    events: list[CertifiedEvent]


async def certificate_of(ledger: Ledger, erasure: int, inclusion: Inclusion) -> Certificate:
    """Return the certificate of an erasure. Raises NotFound `erasure-unknown`, and the errors of `inclusion`."""
    positions = [erasure, await ledger.erasures.erased_at(erasure)]
    row = await ledger.readers.fetch_one("SELECT origin FROM head", [])
    assert row is not None, "a ledger has one head"
    events = await _certified_events(ledger, positions, inclusion)
    return Certificate(format=FORMAT, origin=row[0], events=events)


async def first_events_of(ledger: Ledger, certificate: Certificate, inclusion: Inclusion) -> list[CertifiedEvent]:
    """Return the first event of each number of the client that was erased."""
    numbers = parse_object(certificate.events[-1].body.encode())["data"]["clients"]

    async def work(conn: AsyncConnection) -> list[int]:
        cursor = await conn.execute(FIRST, [[stream_of(number) for number in numbers]])
        return [position for (position,) in await cursor.fetchall()]

    return await _certified_events(ledger, await ledger.readers.run_short(work), inclusion)


class NotCovered(Exception):
    """No signed checkpoint covers the event yet."""


def stored_inclusion(ledger: Ledger, within_s: float = COVERED_WITHIN_S) -> Inclusion:
    """Return a function that makes proofs under the newest stored checkpoint, for programs that do not serve the log.

    It raises NotCovered if no checkpoint covers the event in time, and TileError if the stored tiles are damaged.
    """
    cache = ProofCache()

    async def inclusion(position: int) -> tuple[PublishedCheckpoint, list[bytes]]:
        for _ in range(max(1, round(within_s / LOOK_S))):
            published, proof = await ledger.readers.run(lambda conn: cache.inclusion(conn, position))
            if published is not None and published.size >= position:
                return published, proof
            await asyncio.sleep(LOOK_S)
        raise NotCovered

    return inclusion


async def _certified_events(ledger: Ledger, positions: Sequence[int], inclusion: Inclusion) -> list[CertifiedEvent]:
    found = await ledger.readers.run(lambda conn: read_events(conn, positions))
    return [_certified(one, *await inclusion(one.position)) for one in found]


def _certified(event: WholeEvent, published: PublishedCheckpoint, proof: list[bytes]) -> CertifiedEvent:
    file = encode_proof(TlogProof(event.position - 1, tuple(proof), published.note.encode()))
    return CertifiedEvent(
        position=event.position,
        version=event.version,
        recorded_at_us=(event.recorded_at - EPOCH) // timedelta(microseconds=1),
        prev_hash=event.prev_hash.hex(),
        body=event.body,
        proof=file.decode(),
    )
