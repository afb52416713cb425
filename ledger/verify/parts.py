"""Verify parts of the chain, each apart from the events before it, for `LedgerVerifier.take_part`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ledger.database import Connection
from ledger.proof.acts.checker import ACTS, OF_KEYS, ActsChecker, KeyEvent, actor_of
from ledger.proof.findings import Kind
from ledger.proof.format.events import EventRow
from ledger.proof.format.hashes import HASH_BYTES
from ledger.verify.ledger_verifier import SLICE, LedgerVerifier, between
from ledger.verify.stream_versions import StreamVersions
from ledger.verify.verified_part import Part, Unsigned


class PartVerifier(LedgerVerifier):
    """Verify one part of the chain apart from the events before it."""

    def __init__(self, versions: StreamVersions) -> None:
        super().__init__(None, versions=versions)
        self._acts: list[KeyEvent | Unsigned] = []
        self.acts = _KeptActs("", self._note, self._acts)

    def read_part(self, conn: Connection, after: int, upto: int) -> Part | None:
        """Verify the events in (after, upto]; return None if one is missing or has a fault."""
        # Valid positions begin at 1. The first part also reads lower positions, so that an event there counts as a
        # fault.
        rows = self.verify(conn, SLICE.format(**between(after or None, upto)).as_bytes(conn))
        return self.part(after, upto, (row for row, _, _ in rows))

    def part(self, after: int, upto: int, verified: Iterable[EventRow]) -> Part | None:
        """Return the part of the events that `verified` yields, while this object verifies them; None at a fault."""
        self._chain.next = after + 1
        first, hashes = None, bytearray()
        for row in verified:
            first = first or row
            hashes += row.hash
        last = self._chain.last
        if first is None or last is None or self.position != upto or self.findings.in_order():
            return None
        assert len(hashes) == (upto - after) * HASH_BYTES, "without a finding, each position has its event"
        return Part(
            first,
            self._chain.before,
            last,
            bytes(hashes),
            self._opened,
            dict(self._erased_by),
            self._streams.sum,
            self._first_without_client,
            self._acts,
        )


class _KeptActs(ActsChecker):
    """Keep the events that the check of signed acts needs, and count the unsigned acts.

    That check needs the whole chain, because a signed act depends on keys that were registered earlier.
    """

    def __init__(self, ledger: str, add: Callable[[Kind, int, str], object], kept: list[KeyEvent | Unsigned]) -> None:
        super().__init__(ledger, add)
        self._kept = kept
        self._unsigned: dict[tuple[str, str], Unsigned] = {}

    def take(self, position: int, time_us: int, body: dict[str, Any]) -> None:
        """Keep the event if it has a part in signed acts. Count it if it is an unsigned act."""
        event_type = body.get("type")
        known = type(event_type) is str
        if "signature" in body or (known and event_type in OF_KEYS):
            self._kept.append((position, time_us, body))
        elif known and event_type in ACTS:
            actor = actor_of(body)
            counted = self._unsigned.get((actor, event_type))
            if counted is None:
                counted = self._unsigned[actor, event_type] = Unsigned(actor, event_type, 0, [])
                self._kept.append(counted)
            counted.note(position)
