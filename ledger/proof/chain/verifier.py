"""Verify a whole chain, row by row, in flat memory: docs/formats/event.md, section 5. The steps below have its numbers.

No stored hash is believed, and no content of a row raises: whatever is wrong becomes a finding with a kind and a
position. A row whose hash is not its own is not examined further.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ledger.proof.chain.diagnose import Chain
from ledger.proof.chain.stream_versions import OddVersion, Streams, check_numbers, report_odd
from ledger.proof.findings import CHAIN, Finding, Findings, Kind
from ledger.proof.format.commitments import open_sealed
from ledger.proof.format.event_row import EventRow, Head
from ledger.proof.format.hashes import event_hash
from ledger.proof.format.parse import parse_object

NOT_PROVEN = (
    "a rewrite of the whole suffix with recomputed hashes is not detectable without a signed checkpoint held "
    "elsewhere; none was given"
)


@dataclass(frozen=True)
class Covered:
    """How many events, from the first on, a signed checkpoint was found to be of; 0 where there is no such checkpoint.

    `held`: by a checkpoint that somebody else has, given to the verifier or cosigned by a trusted witness. `signed`: by
    any that a trusted key signed.
    """

    held: int = 0
    signed: int = 0

    def not_proven(self, last: int) -> str:
        """What checkpoints leave open, for a chain that ends at position `last`."""
        if not self.held:
            return NOT_PROVEN
        if self.held < last:
            return (
                f"no checkpoint that someone else holds covers positions {self.held + 1} to {last}: a rewrite of these"
                " with recomputed hashes is not detectable"
            )
        return "that others are shown the same history: that is what witnesses are for"


@dataclass(frozen=True)
class ChainReport:
    """The result of a verification. Positions are 0 and `head_hash` is None where there is no event.

    `opened` counts sealed values that open their commitment, `erased` those that are gone. `more` counts findings
    beyond the first MOST_FINDINGS, which are not classified. `covered` is None where no checkpoint was compared.
    """

    origin: str | None
    events: int
    first_position: int
    last_position: int
    head_hash: bytes | None
    opened: int
    erased: int
    findings: tuple[Finding, ...]
    more: int
    covered: Covered | None = None

    @property
    def not_proven(self) -> str:
        """What the database alone cannot show."""
        return NOT_PROVEN if self.covered is None else self.covered.not_proven(self.last_position)

    @property
    def ok(self) -> bool:
        """True if everything that was checked holds."""
        return not self.findings and not self.more


class ChainVerifier:
    """Takes the events in order of position, then what stands beside them, then gives its report.

    `feed` any number of times; then, once each and in this order, `finish`, `check_streams` and `check_strays`, which
    look for causes in what was found before; then `report`. `head` None: there is none.
    """

    def __init__(self, head: Head | None) -> None:
        self.findings = Findings(CHAIN)
        self._head = head
        self._head_position = -1 if head is None else head.position
        self._chain = Chain(head, self.findings)
        # Of the last event whose time could be relied on.
        self._time_us = self._time_of = 0
        # Positions of the last event whose sealed values opened, and of the last whose columns disagree with its body.
        self._opened_at = self._disagreed_at = 0
        self._events = self._opened = self._erased = 0
        self._streams = Streams()

    @property
    def position(self) -> int:
        """The last position that was reached."""
        return self._chain.next - 1

    @property
    def link(self) -> bytes | None:
        """The hash that the next event must name; None where what was last is in doubt."""
        return self._chain.link

    def move_head(self, head: Head) -> None:
        """The head as it is now, where events were appended since; feed these next."""
        self._head = head
        self._head_position = head.position
        self._chain.move_head(head)

    def feed(self, rows: Iterable[EventRow]) -> None:
        """Steps 1 to 5 and 7 for the next rows."""
        for row in rows:
            if self._sound(row):
                self._examine(row)

    def _sound(self, row: EventRow) -> bool:
        """Steps 1 to 3: position, link, hash. Returns whether the body and time are those that were recorded."""
        position, _, stream, version, _, at, prev_hash, recorded, body, _, _ = row
        chain = self._chain
        self._events += 1
        self._streams.add(stream, version)
        if position == self._head_position:
            chain.at_head = recorded
        try:
            digest = event_hash(prev_hash, position + chain.shift, version, at, body)
        except struct.error:  # A number below zero or beyond 64 bits: no event has it.
            digest = b""
        if position == chain.next and prev_hash == chain.link and digest == recorded:
            chain.next = position + 1
            chain.link = recorded
            chain.before = chain.last
            chain.last = row
            return True
        return chain.explain(row, digest)

    def _examine(self, row: EventRow) -> None:
        position, event_id, stream, _, kind, at, _, _, body, salts, fields = row
        # Step 4: the body is canonical JSON and agrees with its columns.
        try:
            event = parse_object(body)
        except ValueError as error:
            self._note(Kind.MALFORMED, position, f"the body is not canonical JSON: {error}")
            return
        if event.get("stream") != stream or event.get("type") != kind or event.get("id") != event_id:
            self._disagree(position, event, {"id": event_id, "stream": stream, "type": kind})
        # Step 5: times.
        if at < self._time_us:
            message = f"recorded {self._time_us - at} µs before event {self._time_of}"
            self.findings.add(Kind.TIME_DECREASING, position, message, unless=(self._time_of, position))
        self._time_us, self._time_of = at, position
        # Step 7: sealed values. For renumbered rows nobody knows whether the values beside them were renumbered too.
        sealed = event.get("sealed")
        if (sealed is not None or fields is not None) and not self._chain.shift:
            self._open(position, sealed, salts, fields)

    def _disagree(self, position: int, event: dict[str, Any], columns: dict[str, str]) -> None:
        names = ", ".join(name for name, value in columns.items() if event.get(name) != value)
        self._disagreed_at = position
        self._note(Kind.COLUMN_MISMATCH, position, f"the row has another {names} than the body")

    def check_client(self, position: int, stream: str, *, known: bool) -> None:
        """Step 9, for an event whose sealed client_id is not that of the index of clients, which may have none `known`.

        Told right after the event was fed; nothing is said of an event that is not itself in order.
        """
        if position == self._opened_at != self._disagreed_at:
            message = f"the index of clients has {'another one' if known else 'none'} for {stream!r}"
            self._note(Kind.CLIENT_MISMATCH, position, message)

    def _note(self, kind: Kind, position: int, message: str) -> None:
        self.findings.add(kind, position, message, unless=(position,))

    def _open(self, position: int, sealed: Any, salts: bytes | None, fields: bytes | None) -> None:
        """Step 7: a value without its commitment is a failure; a commitment without its value is an erased one."""
        if type(sealed) is not dict:
            what = "values without a commitment" if sealed is None else "commitments that are no object"
            self._note(Kind.COMMITMENT_MISMATCH, position, f"sealed {what}")
            return
        if fields is None:
            self._erased += len(sealed)
            return
        try:
            opened = open_sealed(sealed, salts or b"", fields)
        except ValueError as error:
            self._note(Kind.COMMITMENT_MISMATCH, position, str(error))
        else:
            self._opened_at = position
            self._opened += opened
            self._erased += len(sealed) - opened

    def finish(self) -> None:
        """Step 8: the head is the last event."""
        self._chain.finish()
        self.findings.settle()

    def check_streams(self, ends: Iterable[tuple[str, int]], numbers: Mapping[str, int]) -> bool:
        """Step 6, from each stream and its last version; and, of step 9, the last `numbers` given out, by category.

        If it returns False, `report_versions` wants to know which versions are odd.
        """
        highest = dict.fromkeys(numbers, 0)
        contiguous = self._streams.contiguous(ends, highest)
        check_numbers(self.findings, numbers, highest)
        return contiguous

    def report_versions(self, odd: Iterable[OddVersion]) -> None:
        """Step 6, when versions are not contiguous: those that do not follow the one before in their stream."""
        report_odd(self.findings, odd)

    def check_strays(self, positions: Iterable[int]) -> None:
        """Step 7, from the positions of sealed values that have no event; those of missing events are explained."""
        for position in positions:
            if not self._chain.shift and not self.findings.rewritten(position):
                self.findings.add(Kind.STRAY_SEALED, position, "sealed values stand here, but no event does")

    def report(self) -> ChainReport:
        """What was found, and how much was looked at."""
        last = self._chain.last
        return ChainReport(
            origin=None if self._head is None else self._head.origin,
            events=self._events,
            first_position=0 if last is None else self._chain.first,
            last_position=0 if last is None else last.position,
            head_hash=None if last is None else last.hash,
            opened=self._opened,
            erased=self._erased,
            findings=self.findings.in_order(),
            more=self.findings.more,
        )
