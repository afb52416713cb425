"""Checks a whole chain, row by row, in flat memory: docs/format.md, section 5. The steps below have its numbers.

Nothing here believes a stored hash, and nothing here raises because of what a row holds: what is wrong becomes a
finding with a name and a position. A row whose hash is not its own is not looked at further.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from ledger.proof.breaks import Chain
from ledger.proof.chain import SALT_BYTES, commitment, event_hash
from ledger.proof.findings import ChainReport, Findings, Head, Kind, Row
from ledger.proof.parse import parse, write
from ledger.proof.streams import check_streams


class ChainVerifier:
    """Takes the events in order of position, then what stands beside them, then gives its report.

    `feed` any number of times; then, once each and in this order, `finish`, `check_versions` and `check_strays`, which
    look for causes in what was found before; then `report`. `head` None: there is none.
    """

    def __init__(self, head: Head | None) -> None:
        self.findings = Findings()
        self._head = head
        self._head_position = -1 if head is None else head.position
        self._chain = Chain(head, self.findings)
        self._time_us: int | None = None
        self._events = self._opened = self._erased = 0
        # The sum of a keyed hash over all (position, version, stream): see check_versions.
        self._key = secrets.token_hex(16)
        self._sum = 0

    def feed(self, rows: Iterable[Row]) -> None:
        """Steps 1 to 5 and 7 for the next rows."""
        for row in rows:
            self._check(row)

    def _check(self, row: Row) -> None:
        position, event_id, stream, version, kind, at, prev_hash, recorded, body, salts, fields = row
        chain = self._chain
        self._events += 1
        self._sum += hash(f"{self._key}{position} {version} {stream}")
        if position == self._head_position:
            chain.at_head = recorded
        # Steps 1 to 3: position, link, hash.
        try:
            digest = event_hash(prev_hash, position + chain.shift, version, at, body)
        except struct.error:  # A number below zero or beyond 64 bits: no event has it.
            digest = b""
        if position == chain.next and prev_hash == chain.link and digest == recorded:
            chain.next = position + 1
            chain.link = recorded
            chain.before = chain.last
            chain.last = row
        elif not chain.explain(row, digest):
            return
        # Step 4: the body is canonical JSON and agrees with its columns.
        try:
            event, _ = parse(body)
        except ValueError as error:
            self.findings.add(Kind.MALFORMED, position, f"the body is not canonical JSON: {error}")
            return
        if type(event) is not dict:
            self.findings.add(Kind.MALFORMED, position, "the body is not a JSON object")
            return
        if event.get("stream") != stream or event.get("type") != kind or event.get("id") != event_id:
            self._disagree(position, event, {"id": event_id, "stream": stream, "type": kind})
        # Step 5: times.
        if self._time_us is not None and at < self._time_us:
            message = f"recorded {self._time_us - at} µs before the event that precedes it"
            self.findings.add(Kind.TIME_DECREASING, position, message)
        else:
            self._time_us = at
        # Step 7: sealed values. For renumbered rows nobody knows whether the values beside them were renumbered too.
        sealed = event.get("sealed")
        if (sealed is not None or fields is not None) and not chain.shift:
            self._open(position, sealed, salts, fields)

    def _disagree(self, position: int, event: dict[str, Any], columns: dict[str, str]) -> None:
        names = ", ".join(name for name, value in columns.items() if event.get(name) != value)
        self.findings.add(Kind.COLUMN_MISMATCH, position, f"the row has another {names} than the body")

    def _open(self, position: int, sealed: Any, salts: bytes | None, fields: bytes | None) -> None:
        """Step 7: a value without its commitment is a failure; a commitment without its value is an erased one."""
        if type(sealed) is not dict:
            what = "values without a commitment" if sealed is None else "commitments that are no object"
            self.findings.add(Kind.COMMITMENT_MISMATCH, position, f"sealed {what}")
            return
        if fields is None:
            self._erased += len(sealed)
            return
        try:
            values, fast = parse(fields)
            salt_of = orjson.loads(salts or b"")
        except ValueError as error:
            self.findings.add(Kind.COMMITMENT_MISMATCH, position, f"the sealed values are not canonical JSON: {error}")
            return
        if type(values) is not dict or type(salt_of) is not dict:
            self.findings.add(Kind.COMMITMENT_MISMATCH, position, "the sealed values or their salts are no JSON object")
            return
        wrong = values.keys() - sealed.keys()
        for name, wanted in sealed.items():
            if name not in values:
                self._erased += 1
            elif opens(name, salt_of.get(name), write(values[name], fast), wanted):
                self._opened += 1
            else:
                wrong.add(name)
        if wrong:
            names = ", ".join(sorted(wrong))
            self.findings.add(Kind.COMMITMENT_MISMATCH, position, f"not what the body commits to: {names}")

    def finish(self) -> None:
        """Step 8: the head is the last event."""
        self._chain.finish()

    def check_versions(self, rows: Iterable[tuple[int, int, str]], numbers: Mapping[str, int]) -> None:
        """Step 6, from (position, version, stream) of all events again, in order of stream and version; and, of step 9,
        that `numbers`, by category, are the highest numbers of streams.

        So no stream need be remembered, however many there are. That these are the events that `feed` saw is told by
        the sum of a keyed hash over them: whoever does not know the key, drawn for this one run, cannot make two different
        sets that agree but by a chance of 2^-64.
        """
        if check_streams(rows, numbers, self.findings, self._key) != self._sum:
            message = "ordered by stream, the table gives other events than ordered by position: rebuild its indexes"
            self.findings.add(Kind.INDEX_MISMATCH, 0, message)

    def check_strays(self, positions: Iterable[int]) -> None:
        """Step 7, from the positions of sealed values that have no event; those of missing events are explained."""
        for position in positions:
            if not self._chain.shift and not self.findings.explain(position, position):
                self.findings.add(Kind.STRAY_SEALED, position, "sealed values stand here, but no event does")

    def report(self) -> ChainReport:
        """What was found, and how much was looked at."""
        last = self._chain.last
        return ChainReport(
            origin=None if self._head is None else self._head.origin,
            events=self._events,
            first_position=0 if last is None else self._chain.first,
            last_position=0 if last is None else last[0],
            head_hash=None if last is None else last[7],
            opened=self._opened,
            erased=self._erased,
            findings=self.findings.in_order(),
            more=self.findings.more,
        )


def opens(name: str, salt: Any, value: bytes, wanted: Any) -> bool:
    """Whether the commitment `wanted`, hex, opens to the canonical bytes of the value with this salt, hex."""
    try:
        raw = bytes.fromhex(salt)
        return len(raw) == SALT_BYTES and commitment(name, raw, value) == wanted
    except (ValueError, TypeError):  # No hex, no string, or no name that a field can have.
        return False
