"""Compute the position up to which a bundle is complete: step 10 of docs/formats/bundle.md, section 7."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.proof.casefile.moments import time_text


@dataclass(frozen=True)
class StreamEnds:
    """The last version of each stream as of a position, as a ledger recorded it in an event of its own."""

    as_of: int
    streams: dict[str, int]
    event_position: int
    recorded_at_us: int


@dataclass(slots=True)
class ShownEnd:
    """The position up to which nothing of the selection is shown to be missing.

    `recorded_at_us`: of the newest event up to there that is shown; 0 without one. An event that was recorded before
    that time is not after that position.
    """

    position: int
    recorded_at_us: int = 0

    def reach(self, position: int, recorded_at_us: int) -> None:
        """Move on to the next shown event, if it follows at once."""
        if position == self.position + 1:
            self.position = position
        if position <= self.position:
            self.recorded_at_us = max(self.recorded_at_us, recorded_at_us)


@dataclass(frozen=True)
class Needed:
    """The end up to which a bundle must be complete: a position, a time, or, without both, its own end.

    The end of a range is its last position; of a client or a request it is the size of the checkpoint.
    """

    position: int = 0
    time_us: int = 0

    def words(self) -> str:
        """Format the requirement as a part of a sentence."""
        at_time = f" up to {time_text(self.time_us)} UTC" if self.time_us else ""
        return f" up to position {self.position}" if self.position else at_time

    def met(self, complete: bool | None, shown: ShownEnd | None) -> bool:
        """Return True if what is shown is enough."""
        if self == Needed():
            return complete is True
        return shown is not None and shown.position >= self.position and shown.recorded_at_us >= self.time_us
