"""Dates and hours of monitoring, in a named time zone: reviews from an anchor, and quiet hours.

The zone data are those of the `tzdata` package and never those of the machine, so that a run can be computed again; a
run records their version.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from itertools import count
from typing import Literal
from zoneinfo import ZoneInfo

ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", re.ASCII)
Period = Literal["day", "week", "month", "quarter", "year"]
MONTHS: dict[Period, int] = {"month": 1, "quarter": 3, "year": 12}
DAYS: dict[Period, int] = {"day": 1, "week": 7}


@cache
def zone_named(name: str) -> ZoneInfo:
    """Return the time zone of this name from the pinned data. Raises ValueError."""
    if len(name) <= 64 and ZONE.fullmatch(name):
        file = files("tzdata.zoneinfo").joinpath(*name.split("/"))
        if file.is_file():
            with file.open("rb") as data:
                return ZoneInfo.from_file(data, key=name)
    raise ValueError(f"{name[:64]!r} is no time zone of the IANA database, such as Europe/Zurich")


def zone_data_version() -> str:
    """Return the version of the zone data that this program uses."""
    return version("tzdata")


def review_dates(anchor: date, every: Period) -> Iterator[date]:
    """Yield the dates of reviews from the anchor on, until the calendar ends.

    Each one is counted from the anchor: monthly from 31 January are 28 February and then 31 March.
    """
    for number in count():
        try:
            yield _after(anchor, every, number)
        except (OverflowError, ValueError):
            return


def _after(anchor: date, every: Period, number: int) -> date:
    if every in DAYS:
        return anchor + timedelta(days=DAYS[every] * number)
    months = anchor.year * 12 + anchor.month - 1 + MONTHS[every] * number
    year, month = divmod(months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(anchor.day, last))


def newest_review(anchor: date, every: Period, at: str, zone: ZoneInfo, now: datetime) -> datetime | None:
    """Return the newest instant of a review that is not after `now`; None before the first one."""
    newest = None
    for number in count(_about(anchor, every, now)):
        try:
            instant = instant_of(_after(anchor, every, number), at, zone)
        except (OverflowError, ValueError):
            return newest
        if instant > now:
            return newest
        newest = instant
    raise AssertionError("count() does not end")


def due_after(anchor: date, every: Period, zone: ZoneInfo) -> datetime:
    """Return when one period after a day begins, in UTC: a year after 29 February is 28 February."""
    try:
        return instant_of(_after(anchor, every, 1), "00:00", zone)
    except (OverflowError, ValueError):
        return datetime.max.replace(tzinfo=UTC)


def _about(anchor: date, every: Period, now: datetime) -> int:
    """Return a number of periods after which the review is surely before `now`, but by a few periods only."""
    days = (now.date() - anchor).days
    length = DAYS.get(every) or 31 * MONTHS[every]
    return max(0, days // length - 2)


def instant_of(day: date, at: str, zone: ZoneInfo) -> datetime:
    """Return the instant of a local time, in UTC.

    A time that clocks leave out is read with the offset before the change (PEP 495): 02:30 becomes 03:30 of the new
    time. A time that clocks show twice is the first of the two.
    """
    return datetime.combine(day, time.fromisoformat(at), zone).astimezone(UTC)


def quiet_until(now: datetime, start: str, end: str, zone: ZoneInfo) -> datetime | None:
    """Return the end of the quiet hours that `now` is in, in UTC; None outside of them.

    They are half-open: quiet at `start`, not at `end`.
    """
    today = now.astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        begins = instant_of(day, start, zone)
        ends = instant_of(day if start < end else day + timedelta(days=1), end, zone)
        if begins <= now < ends:
            return ends
    return None
