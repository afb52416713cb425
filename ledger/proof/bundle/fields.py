"""Sealed fields of a bundle, counted by event type and name: step 9 of docs/formats/bundle.md, section 7."""

from __future__ import annotations

from typing import Any

import orjson

from ledger.proof.bundle.lines import EventLine
from ledger.proof.bundle.manifest import STATES, Counts
from ledger.proof.bundle.zip import BundleError, BundleFlaw
from ledger.proof.findings import Findings, Kind
from ledger.proof.format.commitments import open_sealed

MOST_NAMES = 2000
MOST_RANGES = 200

Ranges = list[tuple[int, int]]


class SealedFields:
    """Which values open their commitments, and which are withheld or erased.

    Positions of absent values are kept as ranges, the first MOST_RANGES of each name.
    """

    def __init__(self) -> None:
        self.opened = 0
        self.counts: dict[str, Counts] = {}
        self.ranges: dict[tuple[str, str], Ranges] = {}

    def check(self, line: EventLine, event_type: str, sealed: Any, findings: Findings) -> None:
        """Open the values of an event, and count each name that it commits to."""
        opened: Any = {}
        if type(sealed) is not dict:
            findings.add(Kind.COMMITMENT_MISMATCH, line.position, "values or withheld names without commitments")
            return
        if line.fields:
            try:
                count = open_sealed(sealed, line.salts, line.fields)
            except ValueError as error:
                findings.add(Kind.COMMITMENT_MISMATCH, line.position, str(error)[:300])
                return
            self.opened += count
            opened = sealed if count == len(sealed) else orjson.loads(line.fields)
        for name in line.withheld:
            if name in opened or name not in sealed:
                message = "a name is marked withheld that is disclosed, or that the event does not commit to"
                findings.add(Kind.COMMITMENT_MISMATCH, line.position, message)
                return
        for name in sealed:
            state = "disclosed" if name in opened else "withheld" if name in line.withheld else "erased"
            self._count(f"{event_type}.{name}", state, line.position)

    def _count(self, name: str, state: str, position: int) -> None:
        counts = self.counts.get(name)
        if counts is None:
            if len(self.counts) >= MOST_NAMES or len(name) > MOST_NAMES:
                raise BundleError(BundleFlaw.LINE, f"more than {MOST_NAMES} names of sealed fields")
            counts = self.counts[name] = dict.fromkeys(STATES, 0)
        counts[state] += 1
        if state == "disclosed":
            return
        ranges = self.ranges.setdefault((name, state), [])
        if ranges and ranges[-1][1] == position - 1:
            ranges[-1] = ranges[-1][0], position
        elif len(ranges) < MOST_RANGES:
            ranges.append((position, position))
