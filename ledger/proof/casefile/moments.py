"""Write moments for people: UTC, and local time by offsets that the bundle states.

The offsets are in the manifest, so that every reader writes the same text without a database of time zones.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The ends of what a time zone may be off UTC, exclusive: those of Python's datetime.
DAY_S = 86_400
MOST_CHANGES = 10_000


def time_text(at_us: int) -> str:
    """Format microseconds since 1970; the number itself if no calendar has it."""
    try:
        return (_EPOCH + timedelta(microseconds=at_us)).strftime("%Y-%m-%d %H:%M:%S.%f")
    except OverflowError:
        return str(at_us)


@dataclass(frozen=True)
class LocalTime:
    """A time zone: its name, and from which moment (µs since 1970) it is off UTC by how many seconds, in order.

    Without offsets it is UTC.
    """

    zone: str = "UTC"
    offsets: tuple[tuple[int, int], ...] = ()

    def text(self, at_us: int) -> str:
        """Local time to the second with its offset, then UTC to the microsecond; UTC alone without offsets."""
        utc = f"{time_text(at_us)} UTC"
        place = bisect_right(self.offsets, at_us, key=lambda change: change[0]) - 1
        if place < 0:
            return utc
        offset_s = self.offsets[place][1]
        local = time_text(at_us + offset_s * 1_000_000).partition(".")[0]
        return f"{local} {_offset(offset_s)}\n{utc}"


def _offset(seconds: int) -> str:
    minutes, rest = divmod(abs(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02}:{minutes:02}" + (f":{rest:02}" if rest else "")


def local_time(name: str, zone: tzinfo, moments_us: Iterable[int]) -> LocalTime:
    """Return the offsets that a zone has at these moments; before 1970 there is UTC alone."""
    offsets: list[tuple[int, int]] = []
    for at_us in sorted({at_us for at_us in moments_us if at_us >= 0}):
        try:
            offset = (_EPOCH + timedelta(microseconds=at_us)).astimezone(zone).utcoffset()
        except OverflowError:
            continue
        seconds = 0 if offset is None else int(offset.total_seconds())
        if (not offsets or offsets[-1][1] != seconds) and len(offsets) < MOST_CHANGES:
            offsets.append((at_us, seconds))
    return LocalTime(name, tuple(offsets))
