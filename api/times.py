"""Parse times and days as callers write them. They mean the same on the command line and over HTTP.

A time is RFC 3339, with an offset. A bare date is that whole day in a named time zone, from its first instant to the
first of the next day: that may be 23 or 25 hours, and none if a zone left the day out. Ranges are half-open.
"""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,40})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# Only names in the database of time zones are looked up, because a name is part of a path.
ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", re.ASCII)
MAX_ZONE_CHARS = 64
DEFAULT_ZONE = "UTC"

FORM = "a time like 2030-01-31T12:00:00Z, with an offset, or a date like 2030-01-31"


class BadTime(ValueError):
    """The text is not a valid time, date or time zone. The message says how to write it."""


def zone_of(name: str) -> tzinfo:
    """Return the time zone of this name. Raises BadTime."""
    if name == DEFAULT_ZONE:
        return UTC  # also on a machine without a database of time zones
    if len(name) <= MAX_ZONE_CHARS and ZONE.fullmatch(name):
        with contextlib.suppress(ValueError, KeyError, OSError):
            return ZoneInfo(name)
    raise BadTime("a time zone like Europe/Zurich or UTC, which this machine knows")


def parse(text: str) -> datetime | date:
    """Parse a time or a date. Digits of a second beyond six are cut off. Raises BadTime."""
    with contextlib.suppress(ValueError):
        if RFC_3339.fullmatch(text):
            return datetime.fromisoformat(text.upper())
        if DATE.fullmatch(text):
            return date.fromisoformat(text)
    raise BadTime(FORM)


def start(moment: datetime | date, zone: tzinfo) -> datetime:
    """Return the first instant: the time itself, or that of the day. Raises BadTime beyond the calendar."""
    if isinstance(moment, datetime):
        return moment
    try:
        # Where clocks go forward at midnight this is the instant at which they do; where they go back, the first of
        # the two (PEP 495, fold=0).
        return datetime.combine(moment, time(), zone).astimezone(UTC)
    except OverflowError:
        raise BadTime("a date inside the calendar") from None


def end(moment: datetime | date, zone: tzinfo) -> datetime:
    """Return the first instant after a range that ends with this: the time itself, or the start of the next day."""
    if isinstance(moment, datetime):
        return moment
    try:
        return start(moment + timedelta(days=1), zone)
    except OverflowError:
        raise BadTime("a date inside the calendar") from None


def last(moment: datetime | date, zone: tzinfo) -> datetime:
    """Return the last instant: the time itself, or the last microsecond of the day."""
    return moment if isinstance(moment, datetime) else end(moment, zone) - timedelta(microseconds=1)
