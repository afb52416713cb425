"""Compute when an event took place. An imported event took place long before it was recorded.

The database says the same: schema/functions/acted_at.sql.
"""

from __future__ import annotations

import re
from datetime import date

import orjson

_DAY_S = 86_400
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_OCCURRED = re.compile(
    r"(1[6-9][0-9]{2}|2[0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"T([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])(?:[.]([0-9]{1,6}))?Z"
)


def act_us_of(body: bytes, recorded_at_us: int) -> int:
    """Return when the event took place, in microseconds since 1970; `recorded_at_us` if its body is malformed."""
    if b'"backfill":{' not in body:
        return recorded_at_us
    try:
        members = orjson.loads(body)
    except ValueError:
        return recorded_at_us
    return act_us(members.get("backfill") if isinstance(members, dict) else None, recorded_at_us)


def act_us(backfill: object, recorded_at_us: int) -> int:
    """Return when an event took place, in microseconds since 1970, by the member `backfill` of its body.

    Without a time in RFC 3339 there, it is when the event was recorded. A day that its month does not have is one of
    the next month.
    """
    told = backfill.get("occurred_at") if isinstance(backfill, dict) else None
    found = _OCCURRED.fullmatch(told) if isinstance(told, str) else None
    if found is None:
        return recorded_at_us
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    days = date(year, month, 1).toordinal() + day - 1 - _EPOCH_DAY
    seconds = days * _DAY_S + hour * 3600 + minute * 60 + second
    return seconds * 1_000_000 + int((found[7] or "").ljust(6, "0"))
