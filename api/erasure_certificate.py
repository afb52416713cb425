"""Make the certificate of an erasure, for HTTP and the command line: docs/formats/erasure-certificate.md."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

from ledger.proof.erasure.certificate import FORMAT
from ledger.proof.tlog.tlog_proof import TlogProof
from ledger.service.ledger import Ledger
from ledger.tlog.serve.proof_file import encode_proof
from ledger.tlog.serve.tiles import PublishedCheckpoint
from projections.recorded_events import WholeEvent, read_events

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Given a position, a checkpoint that covers the event, and the proof that its tree has it.
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
    """Return the certificate of an erasure. Raises NotFound `erasure-unknown`, and what `inclusion` raises."""
    positions = [erasure, await ledger.erasures.erased_at(erasure)]
    found = await ledger.readers.run(lambda conn: read_events(conn, positions))
    row = await ledger.readers.fetch_one("SELECT origin FROM head", [])
    assert row is not None, "a ledger has one head"
    events = [_certified(one, *await inclusion(one.position)) for one in found]
    return Certificate(format=FORMAT, origin=row[0], events=events)


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
