"""Sealed fields of a bundle: how many are disclosed, withheld and erased, and where, by the name of event and field."""

from __future__ import annotations

from collections.abc import Iterable

from ledger.proof.bundle.manifest import STATES, Counts
from ledger.proof.bundle.zip import BundleError, BundleFlaw

MOST_NAMES = 2000
MOST_RANGES = 200

Ranges = list[tuple[int, int]]


class FieldLog:
    """Counts all; remembers the positions of what is withheld or erased as ranges, the first so many of each name."""

    def __init__(self) -> None:
        self.counts: dict[str, Counts] = {}
        self.ranges: dict[tuple[str, str], Ranges] = {}
        self._names: dict[tuple[str, str], Counts] = {}

    def disclosed(self, kind: str, names: Iterable[str], events: int = 1) -> None:
        """These values opened their commitments, in so many events."""
        for name in names:
            counts = self._names.get((kind, name)) or self._new(kind, name)
            counts["disclosed"] += events

    def knows(self, names: Iterable[tuple[str, str]]) -> bool:
        """Whether all of these names, each of an event and of a field, were counted before."""
        return all(name in self._names for name in names)

    def absent(self, kind: str, name: str, state: str, position: int) -> None:
        """A commitment at this position has no value here."""
        counts = self._names.get((kind, name)) or self._new(kind, name)
        counts[state] += 1
        ranges = self.ranges.setdefault((f"{kind}.{name}", state), [])
        if ranges and ranges[-1][1] == position - 1:
            ranges[-1] = ranges[-1][0], position
        elif len(ranges) < MOST_RANGES:
            ranges.append((position, position))

    def _new(self, kind: str, name: str) -> Counts:
        full = f"{kind}.{name}"
        if len(self._names) >= MOST_NAMES or len(full) > MOST_NAMES:
            raise BundleError(BundleFlaw.LINE, f"more than {MOST_NAMES} names of sealed fields")
        counts = self.counts.setdefault(full, dict.fromkeys(STATES, 0))
        self._names[kind, name] = counts
        return counts
