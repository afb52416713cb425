"""Ranges of the command line: positions are included, times half-open, days whole, as over HTTP."""

from __future__ import annotations

import zipfile
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from api.cli.extent import Extent, parse_extent, positions
from api.cli.shared import CannotRun
from tests.api.cli.every_command import scene
from tests.api.program import cli
from tests.support import append, connect, new

LAST = 5


@pytest.fixture
def recorded(database_url: str) -> list[datetime]:
    """The times of LAST events, one batch each."""
    with connect(database_url, "writer") as conn:
        for _ in range(LAST):
            append(conn, new("s"))
    with connect(database_url) as conn:
        return [at for (at,) in conn.execute("SELECT recorded_at FROM events ORDER BY position")]


def found(url: str, start: str | None, end: str | None, zone: str = "UTC") -> range:
    """The positions of a range."""
    with connect(url, "reader") as conn:
        first, last = positions(conn, parse_extent(start, end, zone), LAST)
    return range(first, last + 1)


def test_times_are_half_open_and_positions_are_included(database_url: str, recorded: list[datetime]) -> None:
    """The event at --from is in, the one at --to is not, and a microsecond later it is."""
    second, fourth = recorded[1].isoformat(), recorded[3].isoformat()
    just_after = (recorded[3] + timedelta(microseconds=1)).isoformat()
    among = [number for number, at in enumerate(recorded, 1) if recorded[1] <= at < recorded[3]]
    assert list(found(database_url, second, fourth)) == among
    assert found(database_url, None, just_after)[-1] == max(n for n, at in enumerate(recorded, 1) if at <= recorded[3])
    assert list(found(database_url, "2", "4")) == [2, 3, 4]
    assert list(found(database_url, second, "4"))[-1] == 4
    assert list(found(database_url, None, None)) == [1, 2, 3, 4, 5]
    assert list(found(database_url, None, "0001-01-01T00:00:00Z")) == []


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_a_day_is_whole_in_the_named_zone(database_url: str, recorded: list[datetime], zone: str) -> None:
    """From a day to the same day: all its events, none of another; the day before and the day after have none."""
    days = [at.astimezone(ZoneInfo(zone)).date() for at in recorded]
    for day in (days[0] - timedelta(days=1), days[0], days[-1], days[-1] + timedelta(days=1)):
        expected = [number for number, each in enumerate(days, 1) if each == day]
        assert list(found(database_url, str(day), str(day), zone)) == expected


@pytest.mark.parametrize(
    ("start", "end", "zone", "words"),
    [
        ("2026-01-02", "2026-01-01", "UTC", "the range is reversed: from 2026-01-02 to 2026-01-01, days in UTC"),
        ("2026-01-02T00:00:00Z", "2026-01-01T23:59:59Z", "UTC", "the range is reversed"),
        ("7", "6", "UTC", "the range is reversed: from 7 to 6"),
        ("2026-01-01", None, "Nowhere/Town", "--zone must be a time zone like"),
        ("soon", None, "UTC", "--from must be a position, a time like"),
        (None, "2026-01-01T00:00:00", "UTC", "--to must be a position, a time like"),
        (None, "9" * 19, "UTC", "is higher than any position"),
    ],
)
def test_a_range_that_means_nothing_is_refused(start: str | None, end: str | None, zone: str, words: str) -> None:
    """With what is wrong, as it was written."""
    with pytest.raises(CannotRun, match=words):
        parse_extent(start, end, zone)


def test_a_range_of_a_position_and_a_time_may_be_reversed(database_url: str, recorded: list[datetime]) -> None:
    """It is refused once the time is a position, if an event lies between; an empty range is none."""
    third = recorded[2].isoformat()
    for start, end in (("3", "2020-01-01"), ("100", "2020-01-01"), ("2999-01-01", "4")):
        with pytest.raises(CannotRun, match=f"the range is reversed: from {start} to {end}"):
            found(database_url, start, end)
    assert list(found(database_url, "1", "2020-01-01")) == []
    assert list(found(database_url, "100", "2999-01-01")) == []
    assert list(found(database_url, "2999-01-01", "5")) == []
    assert found(database_url, "1", third)[-1] < 3


def test_the_ends_of_a_day_of_25_hours_are_those_of_http() -> None:
    """One function makes both."""
    extent = parse_extent("2026-10-25", "2026-10-25", "Europe/Zurich")
    assert isinstance(extent, Extent)
    assert isinstance(extent.start, datetime)
    assert isinstance(extent.end, datetime)
    assert extent.end - extent.start == timedelta(hours=25)


def test_an_export_names_the_zone_of_its_days(database_url: str, tmp_path: Path) -> None:
    """Today's events are exported, not those before its beginning; text and JSON say which day is meant."""
    ready = scene(database_url, tmp_path)
    with connect(database_url) as conn:
        [(at,)] = conn.execute("SELECT recorded_at FROM events LIMIT 1").fetchall()
    day = str(at.astimezone(ZoneInfo("Asia/Tokyo")).date())
    options = ("--from", day, "--to", day, "--zone", "Asia/Tokyo", "--database-url", ready.url)
    shown = cli("export", *options, "-o", tmp_path / "1.zip")
    assert (shown.code, f"the range is from {day} to {day}, days in Asia/Tokyo\n" in shown.out) == (0, True), shown
    told = cli("export", *options, "-o", tmp_path / "2.zip", "--json").json()
    assert told["events"] > 0
    assert told["zone"] == "Asia/Tokyo"
    assert datetime.fromisoformat(told["from"]) <= at < datetime.fromisoformat(told["to"])
    with zipfile.ZipFile(tmp_path / "1.zip") as bundle:
        page = bundle.read("case.html").decode()
    local = f"{at.astimezone(ZoneInfo('Asia/Tokyo')):%Y-%m-%d %H:%M:%S} +09:00\n{at:%Y-%m-%d %H:%M:%S.%f} UTC"
    assert local in page, "the case file has local times in this zone, and UTC"
