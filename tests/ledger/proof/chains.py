"""Chains made of values, to be tampered with, and what the verifier finds in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from uuid import UUID

from ledger.proof.format.canonical import canonical
from ledger.proof.format.events import EventRow, Head
from ledger.proof.format.hashes import commitment, event_hash, genesis_hash
from ledger.verify.erasures import Erasures
from ledger.verify.ledger_verifier import LedgerVerifier
from ledger.verify.report import ChainReport

ORIGIN = "ledger.example/one"
START_US = 1_700_000_000_000_000


def rehashed(event: EventRow) -> EventRow:
    """The event with the hash that its members have."""
    digest = event_hash(event.prev_hash, event.position, event.version, event.recorded_at_us, event.body)
    return event._replace(hash=digest)


def body_of(position: int, stream: str, **members: object) -> bytes:
    """A canonical body; `members` are added or replaced."""
    body: dict[str, object] = {
        "actor": {"id": "clerk", "kind": "human", "role": "advisor"},
        "data": {"amount_usd": f"{position}.00", "horizon_years": 12, "ratio": 0.25},
        "id": str(UUID(int=position)),
        "schema": 1,
        "stream": stream,
        "type": "portfolio.requested",
    }
    return canonical({**body, **members})  # type: ignore[dict-item]


def event_at(position: int, prev_hash: bytes, streams: int = 7) -> EventRow:
    """An event with one sealed field or, at every third position, two."""
    stream = f"request-{(position - 1) % streams + 1}"
    fields = {"client_id": f"client-{(position - 1) % streams + 1}"}
    if position % 3 == 0:
        fields["notes"] = f"note {position} “é”"
    salts = {name: sha256(f"{position} {name}".encode()).hexdigest() for name in fields}
    sealed = {name: commitment(name, bytes.fromhex(salts[name]), canonical(fields[name])) for name in fields}
    return rehashed(
        EventRow(
            position=position,
            id=str(UUID(int=position)),
            stream=stream,
            version=(position - 1) // streams + 1,
            type="portfolio.requested",
            recorded_at_us=START_US + position // 2 * 1000,
            prev_hash=prev_hash,
            hash=b"",
            body=body_of(position, stream, sealed=sealed),
            salts=canonical(salts),  # type: ignore[arg-type]
            fields=canonical(fields),  # type: ignore[arg-type]
        )
    )


def chain_of(length: int) -> Iterator[EventRow]:
    """The genuine chain, event by event."""
    link = genesis_hash(ORIGIN)
    for position in range(1, length + 1):
        event = event_at(position, link)
        link = event.hash
        yield event


def head_of(events: list[EventRow]) -> Head:
    """The head that belongs to these events."""
    if not events:
        return Head(ORIGIN, 0, genesis_hash(ORIGIN), 0)
    last = events[-1]
    return Head(ORIGIN, last.position, last.hash, last.recorded_at_us)


class EverythingErased(Erasures):
    """An event says of each stream that it is erased."""

    def covering(self, stream: str, position: int) -> int | None:  # noqa: ARG002
        """Return some erasure."""
        return 1


def verify(head: Head | None, events: Iterable[EventRow]) -> ChainReport:
    """The report on events as they come from a table: by position, and again by stream. Any value may be erased."""
    rows = sorted(events, key=lambda event: event.position)
    verifier = LedgerVerifier(head, erasures=EverythingErased())
    verifier.feed(rows)
    verifier.finish()
    by_stream = sorted((event.stream, event.version, event.position) for event in rows)
    if not verifier.check_streams({stream: version for stream, version, _ in by_stream}.items(), {}):
        odd = []
        before: tuple[str, int, int] = ("", 0, 0)
        for stream, version, position in by_stream:
            _, last, at = before if before[0] == stream else (stream, 0, 0)
            if version != last + 1 or position < at:
                odd.append((position, stream, version, last, at))
            before = stream, version, position
        verifier.report_versions(sorted(odd))
    return verifier.report()


def found(report: ChainReport) -> list[tuple[str, int]]:
    """Kind and position of each finding."""
    return [(finding.kind.value, finding.position) for finding in report.findings]
