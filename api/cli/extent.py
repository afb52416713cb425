"""Parse the range of events for a command: positions, times or days."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, tzinfo
from typing import Annotated

import typer

from api import times
from api.cli.shared import CannotRun
from ledger.database import Connection
from ledger.store.head import position_at

MAX_POSITION_DIGITS = 18

From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="POS|TIME",
        show_default=False,
        help="From this position, time (2026-01-31T12:00:00Z) or day (2026-01-31) on. Default: the first.",
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="POS|TIME",
        show_default=False,
        help="Up to this position or day, which is included, or before this time. Default: the last.",
    ),
]
Zone = Annotated[
    str, typer.Option(metavar="NAME", help="The time zone of days and local times, such as Europe/Zurich.")
]


@dataclass(frozen=True)
class Extent:
    """A range. An end that is a time is exclusive. None: from the first event, or to the last."""

    start: int | datetime | None
    end: int | datetime | None
    zone: str
    # The range as the user wrote it, with the zone of days; empty without a limit.
    text: str

    @property
    def times(self) -> tuple[datetime | None, datetime | None]:
        """Return the ends that are times; None for others."""
        start, end = (each if isinstance(each, datetime) else None for each in (self.start, self.end))
        return start, end


def parse_extent(start: str | None, end: str | None, zone: str) -> Extent:
    """Parse a range. Raises CannotRun, also if it is reversed. A position and a time are compared by positions()."""
    try:
        days = times.zone_of(zone)
    except times.BadTime as error:
        raise CannotRun(f"--zone must be {error}") from error
    first, latest = _limit("--from", start, days, times.start), _limit("--to", end, days, times.last)
    text = _as_written(start, end, zone)
    match first, latest:
        case (datetime(), datetime()) | (int(), int()) if latest < first:  # type: ignore[operator] # of one kind
            raise CannotRun(f"the range is reversed: {text}")
    return Extent(first, _limit("--to", end, days, times.end), zone, text)


def positions_alone(extent: Extent) -> Extent:
    """Return the range without its ends that are times."""
    start, end = (each if isinstance(each, int) else None for each in (extent.start, extent.end))
    return replace(extent, start=start, end=end)


def positions(conn: Connection, extent: Extent, last: int) -> tuple[int, int]:
    """Return the first and the last position of the range, in a ledger whose last is `last`.

    Raises CannotRun if a range from a position to a time, or from a time to a position, is reversed: some event is
    after its end and before its start.
    """
    first = 1 if extent.start is None else max(1, _first_from(conn, extent.start))
    end = last if extent.end is None else min(_last_before(conn, extent.end), last)
    mixed = isinstance(extent.start, int) != isinstance(extent.end, int)
    if mixed and None not in {extent.start, extent.end} and end + 1 < min(first, last + 1):
        raise CannotRun(f"the range is reversed: {extent.text}")
    return first, end


def _as_written(start: str | None, end: str | None, zone: str) -> str:
    if start is None and end is None:
        return ""
    days = any(each is not None and times.DATE.fullmatch(each) for each in (start, end))
    return f"from {start or 'the first'} to {end or 'the last'}" + (f", days in {zone}" if days else "")


def _limit(
    option: str, text: str | None, zone: tzinfo, instant: Callable[[datetime | date, tzinfo], datetime]
) -> int | datetime | None:
    if text is None:
        return None
    if text.isascii() and text.isdecimal():
        if len(text) > MAX_POSITION_DIGITS:
            raise CannotRun(f"{text[:40]} is higher than any position")
        return int(text)
    try:
        return instant(times.parse(text), zone)
    except times.BadTime as error:
        raise CannotRun(f"{option} must be a position, {error}; it is {text[:80]!a}") from error


def _first_from(conn: Connection, start: int | datetime) -> int:
    return start if isinstance(start, int) else _last_before(conn, start) + 1


def _last_before(conn: Connection, end: int | datetime) -> int:
    """Return the position itself, or the position of the last event before this time."""
    if isinstance(end, int):
        return end
    try:
        return position_at(conn, end - timedelta(microseconds=1))
    except OverflowError:  # the first instant of the calendar
        return 0
