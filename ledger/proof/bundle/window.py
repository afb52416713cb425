"""Find the events of a bundle that took place in a window of time: docs/formats/bundle.md, sections 2 and 7."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.proof.bundle.selection import Selection
from ledger.proof.format.act_time import act_us_of
from ledger.proof.format.events import EventLine

# Streams that belong to no client, and that events of a client refer to.
REFERRED = ("agent-", "policy-")


@dataclass
class Within:
    """Count the client's events in the window, and keep when the first and last of them was recorded.

    Times are in microseconds since 1970.
    """

    count: int = 0
    recorded_from_us: int = 0
    recorded_to_us: int = 0

    def add(self, selection: Selection, stream: str, at_us: int, recorded_at_us: int) -> None:
        """Add the next event, which counts if it belongs to the window."""
        if is_within(selection, stream, at_us):
            self.recorded_from_us = self.recorded_from_us if self.count else recorded_at_us
            self.recorded_to_us = recorded_at_us
            self.count += 1


def is_within(selection: Selection, stream: str, at_us: int) -> bool:
    """Return True if there is a window of time, and an event of this stream is one of the client in it."""
    if not selection.until_us or stream.startswith(REFERRED):
        return False
    return (not selection.from_us or selection.from_us <= at_us) and at_us < selection.until_us


class WindowEvents:
    """Sort the events of a bundle of a window, one after the other.

    `beyond` has, by stream, the first event after the last one that took place before the end of the window.
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self.within = Within()
        self.beyond: dict[str, int] = {}

    def add(self, line: EventLine, stream: str) -> bool:
        """Add the next event. Return True if its stream belongs to no client."""
        at_us = act_us_of(line.body, line.recorded_at_us)
        if at_us >= self._selection.until_us:
            self.beyond.setdefault(stream, line.position)
        else:
            self.beyond.pop(stream, None)
        self.within.add(self._selection, stream, at_us, line.recorded_at_us)
        return stream.startswith(REFERRED)
