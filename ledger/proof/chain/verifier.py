"""Verify a whole chain, row by row. The step numbers are those of docs/formats/event.md, section 5.

No stored hash is believed, and no content of a row raises: whatever is wrong becomes a finding with a kind and a
position. A row whose hash is not its own is not examined further.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable
from typing import Any

from ledger.proof.acts.checker import ActsChecker
from ledger.proof.chain.diagnose import Chain
from ledger.proof.findings import CHAIN, Findings, Kind
from ledger.proof.format.canonical import parse_object
from ledger.proof.format.commitments import open_sealed
from ledger.proof.format.events import EventRow, Head
from ledger.proof.format.hashes import event_hash


class ChainVerifier:
    """Check the events in order of position: `feed`, `finish`, then `report`.

    `feed` any number of times. `head` is None if the ledger has no head.
    """

    def __init__(self, head: Head | None) -> None:
        self.findings = Findings(CHAIN)
        self._head = head
        self._head_position = -1 if head is None else head.position
        self._chain = Chain(head, self.findings)
        # Time and position of the last event that is not in doubt.
        self._time_us = self._time_of = 0
        # Positions of the last event whose sealed values opened, and of the last whose columns disagree with its body.
        self._opened_at = self._disagreed_at = 0
        self._events = self._opened = self._erased = 0
        self.acts = ActsChecker("" if head is None else head.origin, self._note)

    @property
    def position(self) -> int:
        """Return the last position that was verified."""
        return self._chain.next - 1

    @property
    def link(self) -> bytes | None:
        """Return the hash that the next event must name; None if the last event is in doubt."""
        return self._chain.link

    def move_head(self, head: Head) -> None:
        """Move on to a later head; feed the events up to it next."""
        self._head = head
        self._head_position = head.position
        self._chain.move_head(head)

    def feed(self, rows: Iterable[EventRow]) -> None:
        """Verify the next events."""
        for row in rows:
            self.take(row)

    def take(self, row: EventRow) -> None:
        """Verify the next event: steps 1 to 5, 7 and 13."""
        if self._sound(row):
            self._examine(row)

    def _sound(self, row: EventRow) -> bool:
        """Steps 1 to 3: check position, link and hash. Return whether body and time are those recorded."""
        position, _, _, version, _, time_us, prev_hash, recorded, body, _, _ = row
        chain = self._chain
        self._events += 1
        if position == self._head_position:
            chain.at_head = recorded
        try:
            digest = event_hash(prev_hash, position + chain.shift, version, time_us, body)
        except struct.error:  # a number below zero or beyond 64 bits: no event has it
            digest = b""
        if position == chain.next and prev_hash == chain.link and digest == recorded:
            chain.next = position + 1
            chain.link = recorded
            chain.before = chain.last
            chain.last = row
            return True
        return chain.explain(row, digest)

    def _examine(self, row: EventRow) -> None:
        position, event_id, stream, _, event_type, time_us, _, _, body, salts, fields = row
        # Step 4: the body is canonical JSON and agrees with its columns.
        try:
            event = parse_object(body)
        except ValueError as error:
            self._note(Kind.MALFORMED, position, f"the body is not canonical JSON: {error}")
            return
        if event.get("stream") != stream or event.get("type") != event_type or event.get("id") != event_id:
            self._disagree(position, event, {"id": event_id, "stream": stream, "type": event_type})
        # Step 5: times.
        if time_us < self._time_us:
            message = f"recorded {self._time_us - time_us} µs before event {self._time_of}"
            self.findings.add(Kind.TIME_DECREASING, position, message, unless=(self._time_of, position))
        self._time_us, self._time_of = time_us, position
        # Step 7: sealed values. After a renumbering, they may still be at the old positions, so they are not checked.
        sealed = event.get("sealed")
        if (sealed is not None or fields is not None) and not self._chain.shift:
            self._open(position, sealed, salts, fields)
        # Step 13: signed acts.
        self.acts.take(position, time_us, event)

    def _disagree(self, position: int, event: dict[str, Any], columns: dict[str, str]) -> None:
        names = ", ".join(name for name, value in columns.items() if event.get(name) != value)
        self._disagreed_at = position
        self._note(Kind.COLUMN_MISMATCH, position, f"the row has another {names} than the body")

    def _note(self, kind: Kind, position: int, message: str) -> None:
        self.findings.add(kind, position, message, unless=(position,))

    def _open(self, position: int, sealed: Any, salts: bytes | None, fields: bytes | None) -> None:
        """Step 7: check that values open their commitments. A value without a commitment is a finding."""
        if type(sealed) is not dict:
            subject = "values without a commitment" if sealed is None else "commitments that are not an object"
            self._note(Kind.COMMITMENT_MISMATCH, position, f"sealed {subject}")
            return
        if fields is None:
            self._miss(position, sealed)
            return
        try:
            opened = open_sealed(sealed, salts or b"", fields)
        except ValueError as error:
            self._note(Kind.COMMITMENT_MISMATCH, position, str(error))
        else:
            self._opened_at = position
            self._opened += opened
            if opened < len(sealed):
                self._miss(position, sealed.keys() - parse_object(fields).keys())

    def _miss(self, position: int, names: Collection[str]) -> None:  # noqa: ARG002 - for LedgerVerifier
        """Count missing values as erased: the chain alone does not tell who deleted them."""
        self._erased += len(names)

    def finish(self) -> None:
        """Step 8, after all events: check that the head is the last event."""
        self._chain.finish()
        self.findings.settle()
