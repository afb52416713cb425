"""Times and days have one meaning: days of 23, 24 and 25 hours, in any zone, each instant in exactly one of them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.times import BadTime, end, last, parse, start, zone_of

MICROSECOND = timedelta(microseconds=1)
ZONES = sorted(available_timezones() - {"Factory", "localtime"})


@pytest.mark.parametrize(
    ("zone", "day", "first", "hours"),
    [
        ("UTC", "2026-11-28", "2026-11-28T00:00:00Z", 24),
        ("Europe/Zurich", "2026-03-29", "2026-03-28T23:00:00Z", 23),
        ("Europe/Zurich", "2026-10-25", "2026-10-24T22:00:00Z", 25),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z", 23),  # clocks went from 00:00 to 01:00
        ("America/Havana", "2018-11-04", "2018-11-04T04:00:00Z", 25),  # clocks went from 01:00 to 00:00
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00Z", 24.5),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z", 0),  # a day that was left out
    ],
)
def test_a_day_is_whole_also_when_clocks_change(zone: str, day: str, first: str, hours: float) -> None:
    """It begins with its first instant, and ends before the first of the next."""
    moment, there = parse(day), zone_of(zone)
    assert start(moment, there) == datetime.fromisoformat(first)
    assert end(moment, there) - start(moment, there) == timedelta(hours=hours)
    assert last(moment, there) == end(moment, there) - MICROSECOND


@given(zone=st.sampled_from(ZONES), day=st.dates(date(1900, 1, 1), date(2100, 1, 1)), part=st.floats(0, 0.999999))
def test_days_follow_each_other_without_gap_and_overlap(zone: str, day: date, part: float) -> None:
    """The next day begins where a day ends; an instant of a day has the date of that day there."""
    there = ZoneInfo(zone)
    assert end(day, there) == start(day + timedelta(days=1), there)
    length = end(day, there) - start(day, there)
    if length:
        assert (start(day, there) + length * part).astimezone(there).date() == day
        assert last(day, there).astimezone(there).date() == day


@given(moment=st.datetimes(timezones=st.just(UTC)), zone=st.sampled_from(ZONES))
def test_a_time_with_an_offset_is_itself_in_any_zone(moment: datetime, zone: str) -> None:
    """The zone is for days only."""
    there = ZoneInfo(zone)
    parsed = parse(moment.isoformat())
    assert parsed == start(parsed, there) == end(parsed, there) == last(parsed, there) == moment


def test_digits_beyond_microseconds_are_cut_off() -> None:
    """As .NET, Go and Java write them."""
    assert parse("2026-11-28T00:00:00.123456999Z") == parse("2026-11-28t00:00:00.123456z")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "now",
            "2026",
            "2026-11",
            "20261128",
            "2026-W05-1",
            "2026-13-01",
            "2026-02-30",
            "26-11-28",
            "2026-11-28Z",
        ),
        *("2026-11-28T10:00:00", "2026-11-28 10:00:00Z", "2026-11-28T24:00:01Z", "2026-11-28T10:00Z", " 2026-11-28"),
        *("2026-11-28T10:00:00+25:00", "\u0662026-11-28", "0000-01-01"),
    ],
)
def test_what_is_neither_a_time_nor_a_date_is_refused(text: str) -> None:
    """Also what Python would take: a time without an offset, other forms of ISO 8601."""
    with pytest.raises(BadTime, match="with an offset, or a date"):
        parse(text)


@pytest.mark.parametrize("name", ["", "Nowhere/Town", "../../etc/passwd", "/etc/localtime", "Europe", "UTC ", "A" * 65])
def test_an_unknown_zone_is_refused(name: str) -> None:
    """A name is no path."""
    with pytest.raises(BadTime, match="a time zone like"):
        zone_of(name)


def test_days_at_the_ends_of_the_calendar_are_refused_by_name() -> None:
    """Where there is no instant before or after, nothing else is taken."""
    for which, day, zone in ((end, date.max, "UTC"), (last, date.max, "UTC"), (start, date.min, "Pacific/Auckland")):
        with pytest.raises(BadTime, match="calendar"):
            which(day, zone_of(zone))
