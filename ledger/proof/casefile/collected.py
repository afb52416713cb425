"""Collect the events of a bundle that a case file shows: all of them, or none if they are more than a person reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from ledger.proof.casefile.steps import Step, as_step, case_of
from ledger.proof.format.act_time import act_us_of
from ledger.proof.format.events import EventLine

MOST_EVENTS = 5_000
MOST_BYTES = 32 * 1024 * 1024
# The limit of lists and objects, which take most memory once parsed.
MOST_PARTS = 1_000_000


@dataclass
class Collected:
    """Collect lines while they are written or read. Beyond the limits none is kept, so memory stays flat."""

    count: int = 0
    size: int = 0
    parts: int = 0
    first_us: int = 0
    last_us: int = 0
    lines: list[EventLine] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Return True if the events are within the limits, and so in the case file."""
        return self.count <= MOST_EVENTS and self.size <= MOST_BYTES and self.parts <= MOST_PARTS

    def add(self, line: EventLine, size: int) -> None:
        """Add an event whose line has `size` bytes, without its newline."""
        self.first_us = self.first_us if self.count else line.recorded_at_us
        self.last_us = line.recorded_at_us
        self.count += 1
        self.size += size + 1
        self.parts += sum(text.count(mark) for text in (line.body, line.fields) for mark in (b"[", b"{"))
        if self.whole:
            self.lines.append(line)
        else:
            self.lines.clear()

    def moments_us(self) -> Iterator[int]:
        """Yield the times of the events that are kept, and of the first and last event."""
        yield from (self.first_us, self.last_us)
        for line in self.lines:
            yield from {line.recorded_at_us, act_us_of(line.body, line.recorded_at_us)}

    def cases(self, is_marked: Callable[[str, int], bool]) -> tuple[dict[int, list[Step]], list[Step]]:
        """Return the steps by number of the request, in the order of first events, and the steps of no case.

        `is_marked` decides by the stream and the time of the act.
        """
        cases: dict[int, list[Step]] = {}
        others = []
        for found in map(as_step, self.lines):
            step = replace(found, marked=True) if is_marked(found.stream, found.at_us) else found
            number = case_of(step.stream)
            if number is None:
                others.append(step)
            else:
                cases.setdefault(number, []).append(step)
        return cases, others
