"""Reviews keep their day of the month, and local hours are those of the zone, also when its clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.monitoring.calendar import (
    Period,
    instant_of,
    newest_review,
    quiet_until,
    review_dates,
    zone_data_version,
    zone_named,
)

ZURICH = zone_named("Europe/Zurich")
NEW_YORK = zone_named("America/New_York")


def utc(text: str) -> datetime:
    """Parse a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("anchor", "every", "expected"),
    [
        ("2026-01-31", "month", ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]),
        ("2024-02-29", "year", ["2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]),
        ("2026-11-30", "quarter", ["2026-11-30", "2027-02-28", "2027-05-30"]),
        ("2026-03-02", "week", ["2026-03-02", "2026-03-09"]),
        ("9999-12-30", "day", ["9999-12-30", "9999-12-31"]),
    ],
)
def test_reviews_are_counted_from_the_anchor(anchor: str, every: Period, expected: list[str]) -> None:
    """A short month does not shorten the months after it; the calendar's end is the end."""
    dates = islice(review_dates(date.fromisoformat(anchor), every), len(expected) + (anchor > "9999"))
    assert [day.isoformat() for day in dates] == expected


@pytest.mark.parametrize(
    ("day", "at", "instant"),
    [
        ("2026-03-08", "02:30", "2026-03-08T07:30"),  # left out
        ("2026-11-01", "01:30", "2026-11-01T05:30"),  # shown twice: the first
        ("2026-06-01", "02:30", "2026-06-01T06:30"),
    ],
)
def test_a_local_time_is_one_instant(day: str, at: str, instant: str) -> None:
    """Also where clocks leave it out or show it twice."""
    assert instant_of(date.fromisoformat(day), at, NEW_YORK) == utc(instant)


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        ("2026-03-28T21:00", "2026-03-29T05:00"),  # 8 hours
        ("2026-10-24T20:00", "2026-10-25T06:00"),  # 10 hours
        ("2026-06-01T20:00", "2026-06-02T05:00"),
    ],
)
def test_quiet_hours_are_half_open_in_their_zone(begins: str, ends: str) -> None:
    """22:00 to 07:00 of Zurich: quiet at the first instant, not at the last, also when clocks change."""
    end, instant = utc(ends), timedelta(microseconds=1)
    assert quiet_until(utc(begins), "22:00", "07:00", ZURICH) == end
    assert quiet_until(end - instant, "22:00", "07:00", ZURICH) == end
    assert quiet_until(end, "22:00", "07:00", ZURICH) is None
    assert quiet_until(utc(begins) - instant, "22:00", "07:00", ZURICH) is None


def test_quiet_hours_of_one_day_end_on_it() -> None:
    """12:00 to 13:30 is quiet in between only."""
    assert quiet_until(utc("2026-06-01T10:30"), "12:00", "13:30", ZURICH) == utc("2026-06-01T11:30")
    assert quiet_until(utc("2026-06-01T11:30"), "12:00", "13:30", ZURICH) is None


@given(
    st.dates(date(1990, 1, 1), date(2040, 1, 1)),
    st.sampled_from(["day", "week", "month", "quarter", "year"]),
    st.integers(0, 20_000).map(lambda day: datetime(1989, 1, 1, 7, tzinfo=UTC) + timedelta(days=day)),
)
def test_the_newest_review_is_the_last_that_is_over(anchor: date, every: Period, now: datetime) -> None:
    """The same as walking through all of them."""
    expected = None
    for day in review_dates(anchor, every):
        if (instant := instant_of(day, "08:00", ZURICH)) > now:
            break
        expected = instant
    assert newest_review(anchor, every, "08:00", ZURICH, now) == expected


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.sampled_from(["month", "quarter", "year"]))
def test_each_review_is_after_the_one_before(anchor: date, every: Period) -> None:
    """Dates rise strictly, also where months are short."""
    assert all(before < after for before, after in pairwise(islice(review_dates(anchor, every), 50)))


@pytest.mark.parametrize("name", ["Zurich", "../etc/passwd", "", "Europe", "UTC\n", "Europe/Zurich/", "x" * 65])
def test_an_unknown_zone_is_refused_by_name(name: str) -> None:
    """Also one that is a path."""
    with pytest.raises(ValueError, match="no time zone"):
        zone_named(name)


def test_the_version_of_the_zone_data_is_known() -> None:
    """A run records it."""
    assert zone_data_version()[:2] == "20"
