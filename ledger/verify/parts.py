"""Verify parts of the chain, each apart from the events before it, for `LedgerVerifier.take_part`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ledger.database import Connection
from ledger.proof.acts.checker import ActsChecker, KeyEvent, matters
from ledger.proof.findings import Kind
from ledger.proof.format.events import EventRow
from ledger.proof.format.hashes import HASH_BYTES
from ledger.verify.ledger_verifier import SLICE, LedgerVerifier, Part, between
from ledger.verify.stream_versions import StreamVersions


class PartVerifier(LedgerVerifier):
    """Verify one part of the chain apart from the events before it."""

    def __init__(self, versions: StreamVersions) -> None:
        super().__init__(None, versions=versions)
        self._acts: list[KeyEvent] = []
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
    """Keep the events that the check of signed acts needs.

    That check needs the whole chain, because a signed act depends on keys that were registered earlier.
    """

    def __init__(self, ledger: str, add: Callable[[Kind, int, str], object], kept: list[KeyEvent]) -> None:
        super().__init__(ledger, add)
        self._kept = kept

    def take(self, position: int, time_us: int, body: dict[str, Any]) -> None:
        """Keep the event if it has a part in signed acts."""
        if matters(body):
            self._kept.append((position, time_us, body))
