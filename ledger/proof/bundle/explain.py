"""What is wrong with an event of a bundle that is not what the log has at its position: step 6, docs/formats/bundle.md.

An event that was moved fits another position near by, and those after it fit the same distance away.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ledger.proof.bundle.complete import Completeness
from ledger.proof.bundle.findings import Problems, Wrong
from ledger.proof.bundle.lines import Line
from ledger.proof.format.hashes import event_hash

# How far from its place a renumbered event is looked for.
REACH = 64


@dataclass(slots=True)
class _Moved:
    """An event that fits `offset` positions from where it stands."""

    position: int
    offset: int
    key: int


class Explainer:
    """Told of events in order; the findings are of those that are out of order."""

    def __init__(self, problems: Problems, complete: Completeness) -> None:
        self._problems = problems
        self._complete = complete
        self._moved: _Moved | None = None
        self._suspects: list[tuple[int, int]] = []

    def in_place(self) -> None:
        """The log has the event where it stands."""
        self._moved = None

    def explain(self, line: Line, digest: bytes, *, genuine: bool) -> None:
        """Names what is wrong with a line whose hash is not its own, or is not the log's."""
        position, add = line.position, self._problems.add
        moved, self._moved = self._moved, None
        if genuine:
            add(Wrong.EDITED, position, "the event was changed; the log has the hash that stands with it")
        elif digest == line.hash:
            message = "replaced with its hash recomputed, or put in: the log has another event here"
            key = add(Wrong.EDITED, position, message)
            self._complete.replaced(position, line, key)
            self._suspect(position, key)
        elif self._problems.full:
            add(Wrong.EDITED, position, "")
        elif not self._swapped(line):
            self._displaced(line, moved)

    def _displaced(self, line: Line, moved: _Moved | None) -> None:
        position = line.position
        offset = self._offset(line)
        if not offset:
            message = "the event or its hash was changed after it was recorded"
            key = self._problems.add(Wrong.EDITED, position, message)
            self._suspect(position, key)
        elif moved is not None and moved.offset == offset:
            if offset < 0:
                message = f"{-offset} put in, and events from {moved.position} on renumbered"
                first = moved.position + offset
                self._drop_suspects(first, moved.position)
                self._problems.replace(moved.key, Wrong.INSERTED, first, message, position)
            else:
                message = f"{offset} missing, and events from {moved.position} on renumbered"
                self._problems.replace(moved.key, Wrong.DELETED, moved.position, message, position)
            self._moved = moved
        else:
            message = f"event {position + offset} stands at {position}"
            key = self._problems.add(Wrong.REORDERED, position, message, max(position, position + offset))
            self._moved = _Moved(position, offset, key)

    def _swapped(self, line: Line) -> bool:
        """Whether the event was recorded where an earlier one stands that is not what the log has."""
        found = [one for one in self._problems if one.wrong is Wrong.REORDERED and one.last_position == line.position]
        if any(_fits(line, one.position) for one in found):
            return True
        for place, key in self._suspects:
            # One that was pushed back a little by an event put in has not changed places with that.
            if line.position - place > REACH and _fits(line, place):
                message = f"event {place} stands at {line.position}, another one in its place"
                self._problems.replace(key, Wrong.REORDERED, place, message, line.position)
                return True
        return False

    def _suspect(self, position: int, key: int) -> None:
        if not self._problems.full:
            self._suspects.append((position, key))

    def _drop_suspects(self, first: int, last: int) -> None:
        for place, key in self._suspects:
            if first <= place < last:
                self._problems.drop(key)

    @staticmethod
    def _offset(line: Line) -> int:
        for distance in range(1, REACH + 1):
            for offset in (-distance, distance):
                if line.position + offset > 0 and _fits(line, line.position + offset):
                    return offset
        return 0


def _fits(line: Line, place: int) -> bool:
    """Whether the line's hash is its own, had it been recorded at `place`."""
    try:
        return event_hash(line.prev_hash, place, line.version, line.recorded_at_us, line.body) == line.hash
    except struct.error:
        return False
