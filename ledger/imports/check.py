"""Check a whole history before any of it is recorded: each line by itself, and the earlier events that it names."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from ledger.database import Connection
from ledger.errors import InvalidEvent, Refused
from ledger.imports.encode import line_of
from ledger.imports.history import CONTENT, ERASED, FIRST, IMPORTED, TRACE, BadLine, HistoryEvent, Incomplete
from ledger.imports.lines import dumped
from ledger.imports.references import OF_STREAM, Kind, names
from ledger.proof.format.canonical import MAX_INTEGER
from schema.events import CATALOGUE

# The number of faults that are kept; more are only counted.
MOST_FAULTS = 1000
ERASED_THERE = "of a client that the history has erased"
NO_ID = UUID(int=0)
# The valid end of a stream's name, after the category, and the message about any other.
NUMBERED = re.compile(r"[0-9]{1,16}"), "Input should end in a number"
STREAM_NAMES = {
    TRACE: (re.compile(r"[A-Za-z0-9._-]{1,100}"), "Input should end in 1 to 100 letters, digits and . _ -"),
    CONTENT: (re.compile(r".+", re.DOTALL), "Input should end in an id"),
}
NOW_US = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
ORDER = "Input should come after the line before"


@dataclass(frozen=True)
class Fault:
    """Describe the fault of a line."""

    file: str
    line: int
    field: str
    reason: str


@dataclass
class Checked:
    """Describe the content of a history.

    `left_out` counts events that are not imported, by reason; `erased` has their streams.
    """

    events: int = 0
    faults: list[Fault] = field(default_factory=list)
    more_faults: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    erased: set[str] = field(default_factory=set)
    signed: int = 0
    # The newest time of an act, in microseconds since 1970, and the file and line that have it.
    latest: tuple[int, str, int] = (0, "", 0)


class Checker:
    """Check a history: `take` each line in order, then `end`."""

    def __init__(self) -> None:
        self._found = Checked()
        # The number, the last time and the events of each stream; and the stream of each event, by position.
        self._streams: dict[str, tuple[int, int, int]] = {}
        self._positions: array[int] = array("q")
        self._of: array[int] = array("l")
        # The first line of each stream with a missing value. It is not a fault if the stream was erased.
        self._incomplete: dict[str, Fault] = {}
        self._last_position = 0
        # 64 bits of each id. Two ids of a history share them by chance once in millions of histories.
        self._ids: set[int] = set()

    def take(self, event: HistoryEvent) -> None:
        """Check the next event."""
        self._found.events += 1
        try:
            self._check(event)
        except BadLine as error:
            self.fault(event.file, event.line, error)

    def fault(self, file: str, line: int, error: BadLine) -> None:
        """Add the fault of a line."""
        fault = Fault(file, line, error.field, error.reason)
        if isinstance(error, Incomplete):
            self._incomplete.setdefault(error.event.stream, fault)
            self._last_position = max(self._last_position, error.event.position)
            self._place(error.event)
        elif len(self._found.faults) < MOST_FAULTS:
            self._found.faults.append(fault)
        else:
            self._found.more_faults += 1

    def end(self) -> Checked:
        """Return the result."""
        found = self._found
        if erased := sum(self._streams[stream][2] for stream in found.erased if stream in self._streams):
            found.left_out[ERASED_THERE] += erased
        missing = [fault for stream, fault in self._incomplete.items() if stream not in found.erased]
        found.faults = sorted([*found.faults, *missing], key=lambda fault: (fault.file, fault.line))
        return found

    def _check(self, event: HistoryEvent) -> None:
        if event.position <= self._last_position:
            raise BadLine("position", ORDER)
        self._last_position = event.position
        if event.type in ERASED:
            self._found.erased.add(event.stream)
        if not event.is_imported:
            if event.type not in CATALOGUE:
                raise BadLine("type", "there is no event of this type")
            self._found.left_out[f"{event.category}*: {event.type}"] += 1
            return
        self._check_stream(event)
        self._check_id(event)
        if not event.typed:
            dumped(CATALOGUE[event.type], {**event.data, **event.values})
        for member, kind, number in names(event):
            if not self._knows(event, kind, number):
                missing = f"there is no {kind} {number} before this line in the history"
                stream = f"{OF_STREAM[kind]}{number}" if kind in OF_STREAM else None
                raise BadLine(member, missing if stream is None else f"{missing}: export {stream} too")
        try:
            line_of(event, NO_ID, "", event.actor, event.data, event.stream, "any")
        except InvalidEvent as error:
            raise BadLine(error.field, error.reason) from error
        self._found.signed += event.signed
        self._found.latest = max(self._found.latest, (event.occurred_at_us, event.file, event.line))
        self._place(event)

    def _check_stream(self, event: HistoryEvent) -> None:
        rest, reason = STREAM_NAMES.get(event.category, NUMBERED)
        if not rest.fullmatch(event.stream.removeprefix(event.category)):
            raise BadLine("stream", reason)
        known = self._streams.get(event.stream)
        begins = event.type in FIRST.get(event.category, IMPORTED[event.category])
        if known is None and not begins:
            raise BadLine("type", "the stream begins with another event")
        if known is not None and begins and event.category in FIRST:
            raise BadLine("type", "the stream has begun already")
        if known is not None and event.occurred_at_us < known[1]:
            raise BadLine("occurred_at", "Input should not be before the event that precedes it in its stream")

    def _check_id(self, event: HistoryEvent) -> None:
        if event.position > MAX_INTEGER:
            raise BadLine("position", f"Input should be at most {MAX_INTEGER}")
        known = len(self._ids)
        self._ids.add(hash(event.id))
        if len(self._ids) == known:
            raise BadLine("id", "a line before has the same id")

    def _place(self, event: HistoryEvent) -> None:
        number, _, events = self._streams.get(event.stream, (len(self._streams), 0, 0))
        self._streams[event.stream] = number, event.occurred_at_us, events + 1
        self._positions.append(event.position)
        self._of.append(number)

    def _knows(self, event: HistoryEvent, kind: Kind, number: int) -> bool:
        if kind in OF_STREAM:
            return f"{OF_STREAM[kind]}{number}" in self._streams
        if kind is Kind.STATE:
            return bool(self._positions)
        index = bisect_left(self._positions, number)
        known = index < len(self._positions) and self._positions[index] == number
        return known and (kind is Kind.PAST or self._of[index] == self._streams[event.stream][0])


def check_past(conn: Connection, checked: Checked) -> None:
    """Raise Refused `not-past` if an act takes place later than now, by the database's clock."""
    [(now_us,)] = conn.execute(NOW_US).fetchall()
    latest_us, file, line = checked.latest
    if latest_us > now_us:
        reason = "Input should not be later than now, by the database's clock: nothing is recorded"
        raise Refused("not-past", f"{file}, line {line}: occurred_at: {reason}")


def check(lines: Iterable[HistoryEvent | tuple[str, int, BadLine]]) -> Checked:
    """Check a history, which has events and lines that are not events."""
    checker = Checker()
    for line in lines:
        if isinstance(line, HistoryEvent):
            checker.take(line)
        else:
            checker.fault(*line)
    return checker.end()
