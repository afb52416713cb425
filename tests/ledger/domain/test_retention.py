"""Until when records must be kept: a table of cases with dates, leap days and time zones, and what holds for any."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.policy import HOME, BadPolicy
from ledger.domain.retention import Kept, Record, Retention, RetentionClass, last_day, start_of

PACKAGED = Retention.load()
CASE, OTHER_CASE, CLIENT = "request-1", "request-2", "client-1"


def at(text: str) -> datetime:
    """Return a time of the table, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def policy(years: int, starts: str = "event", counts: str = "days", zone: str = "UTC") -> Retention:
    """Return a policy in which all types but registrations have this class."""
    kept = RetentionClass.model_validate({"years": years, "from": starts, "counts": counts})
    none = RetentionClass.model_validate({"years": 0, "from": "event", "counts": "days"})
    classes = {"kept": kept, "none": none}
    return replace(PACKAGED, zone=ZoneInfo(zone), classes=classes, types={"client.registered": "none"}, other="kept")


# The newest event (UTC), years, how they count, the zone; the last day, and the moment from which on it may go.
CASES = [
    ("2026-03-15T12:00", 7, "days", "UTC", "2033-03-15", "2033-03-16T00:00"),
    ("2026-03-15T23:59:59.999999", 1, "days", "UTC", "2027-03-15", "2027-03-16T00:00"),
    ("2026-03-16T00:00", 1, "days", "UTC", "2027-03-16", "2027-03-17T00:00"),
    ("2026-12-31T12:00", 1, "days", "UTC", "2027-12-31", "2028-01-01T00:00"),
    # 29 February: kept to 1 March in a year without one, to 29 February in a year with one. 2100 has none, 2000 has.
    ("2024-02-29T12:00", 1, "days", "UTC", "2025-03-01", "2025-03-02T00:00"),
    ("2024-02-29T12:00", 4, "days", "UTC", "2028-02-29", "2028-03-01T00:00"),
    ("2096-02-29T12:00", 4, "days", "UTC", "2100-03-01", "2100-03-02T00:00"),
    ("2023-02-28T12:00", 1, "days", "UTC", "2024-02-28", "2024-02-29T00:00"),
    # The day is that of the zone: this is already the 16th in Auckland, and still the 14th in Honolulu.
    ("2026-03-15T12:00", 1, "days", "Pacific/Auckland", "2027-03-16", "2027-03-16T11:00"),
    ("2026-03-15T09:00", 1, "days", "Pacific/Honolulu", "2027-03-14", "2027-03-15T10:00"),
    ("2024-02-29T23:30", 1, "days", "Europe/Zurich", "2025-03-01", "2025-03-01T23:00"),
    # Summer time starts and ends on the day after: midnight is at another offset than noon of that day.
    ("2025-03-29T12:00", 1, "days", "Europe/Zurich", "2026-03-29", "2026-03-29T22:00"),
    ("2025-10-24T12:00", 1, "days", "Europe/Zurich", "2026-10-24", "2026-10-24T22:00"),
    # Clocks went from 24:00 to 01:00 in São Paulo: 4 November 2018 had no midnight, and began at 03:00 UTC.
    ("2017-11-03T12:00", 1, "days", "America/Sao_Paulo", "2018-11-03", "2018-11-04T03:00"),
    # In Beirut the clocks went back at midnight: 27 October 2024 was 25 hours long, and the next day began at 22:00.
    ("2023-10-28T12:00", 1, "days", "Asia/Beirut", "2024-10-28", "2024-10-28T22:00"),
    # From the end of the year, by the zone's calendar.
    ("2026-01-01T00:00", 6, "year-end", "UTC", "2032-12-31", "2033-01-01T00:00"),
    ("2026-12-31T23:30", 6, "year-end", "Europe/Zurich", "2033-12-31", "2033-12-31T23:00"),
    ("2026-01-01T02:00", 6, "year-end", "America/New_York", "2031-12-31", "2032-01-01T05:00"),
]


@pytest.mark.parametrize(("newest", "years", "counts", "zone", "until", "free"), CASES)
def test_a_record_is_kept_until(newest: str, years: int, counts: str, zone: str, until: str, free: str) -> None:
    """The last day, and the first moment after it, for one event."""
    found = policy(years, counts=counts, zone=zone).kept([Record(CASE, "portfolio.requested", at(newest))])
    assert found == Kept(date.fromisoformat(until), at(free), "kept")


@pytest.mark.parametrize(("newest", "years", "counts", "zone", "until", "free"), CASES)
def test_it_is_over_from_that_moment_on(newest: str, years: int, counts: str, zone: str, until: str, free: str) -> None:
    """Disposal begins with the first moment after the last day, and never with what need not be kept at all."""
    retention, records = policy(years, counts=counts, zone=zone), [Record(CASE, "portfolio.requested", at(newest))]
    assert at(until) <= at(free) + timedelta(days=1)
    assert not retention.is_over(records, at(free) - timedelta(microseconds=1))
    assert retention.is_over(records, at(free))
    assert not retention.is_over([Record(CLIENT, "client.registered", at(newest))], at(free))


@pytest.mark.parametrize(
    ("starts", "until"), [("event", "2027-05-01"), ("case", "2027-05-01"), ("client", "2027-06-01")]
)
def test_what_starts_the_clock(starts: str, until: str) -> None:
    """The newest event of the type, of its case, or of its client. An event that need not be kept starts no clock."""
    records = [
        Record(CASE, "portfolio.requested", at("2026-03-01")),
        Record(CASE, "recommendation.recorded", at("2026-05-01")),
        Record(OTHER_CASE, "request.failed", at("2026-06-01")),
        Record(CLIENT, "client.registered", at("2030-01-01")),
    ]
    rules = policy(1, starts)
    short = RetentionClass.model_validate({"years": 1, "from": "event", "counts": "days"})
    # The other case is kept by its own event alone, and shorter than the class that is asked about.
    rules = replace(
        rules,
        classes={**rules.classes, "short": short.model_copy(update={"years": 0 if starts != "client" else 1})},
        types={**rules.types, "request.failed": "short"},
    )
    found = rules.kept(records)
    assert found is not None
    assert found.until == date.fromisoformat(until)


def test_nothing_need_be_kept() -> None:
    """No records, or only such without years: None."""
    assert policy(7).kept([]) is None
    assert policy(7).kept([Record(CLIENT, "client.registered", at("2026-01-01"))]) is None
    assert policy(0).kept([Record(CASE, "portfolio.requested", at("2026-01-01"))]) is None


# From 1980 to 2080.
moments = st.integers(315_532_800, 3_471_292_800).map(lambda second: datetime.fromtimestamp(second, UTC))
ZONES = ["UTC", "Europe/Zurich", "America/Sao_Paulo", "Pacific/Apia", "Australia/Lord_Howe", "Asia/Beirut"]
zones = st.sampled_from(ZONES)
records = st.lists(
    st.builds(
        Record,
        st.sampled_from([CASE, OTHER_CASE, CLIENT]),
        st.sampled_from(["portfolio.requested", "recommendation.recorded", "client.registered", "portfolio.defined"]),
        moments,
    ),
    max_size=8,
)


@given(moments, st.integers(1, 100), st.sampled_from(["days", "year-end"]), zones)
def test_never_too_short_and_hardly_too_long(start: datetime, years: int, counts: str, zone: str) -> None:
    """From the start to the moment of freedom there are at least so many years by the zone's clock, and a day more."""
    kind = RetentionClass.model_validate({"years": years, "from": "event", "counts": counts})
    where = ZoneInfo(zone)
    free = start_of(last_day(start, kind, where) + timedelta(days=1), where)
    local, end = start.astimezone(where), free.astimezone(where)
    assert (end.year - local.year, end.month, end.day) >= (years, local.month, local.day)
    # No two moments of a day after another; and one microsecond before it is still the day before.
    assert (free - timedelta(microseconds=1)).astimezone(where).date() < end.date()
    if counts == "days":
        assert free - start < timedelta(days=365.25 * years + 4)


@given(records, moments, zones)
def test_more_records_never_shorten(found: list[Record], moment: datetime, zone: str) -> None:
    """Another record, and a newer one, keep the client as long as before, or longer."""
    rules = replace(PACKAGED, zone=ZoneInfo(zone))
    before = rules.kept(found)
    after = rules.kept([*found, Record(CASE, "recommendation.recorded", moment)])
    assert after is not None
    assert before is None or after.until >= before.until


BROKEN: list[tuple[str, Any, str]] = [
    ("other", "nothing", "there is no class 'nothing'"),
    ("types", {"client.invented": "advice"}, "there is no type of event 'client.invented'"),
    ("types", {"client.merged": "nothing"}, "there is no class 'nothing'"),
    ("zone", "Mars/Olympus", "zone"),
    ("zone", "../../etc/passwd", "zone"),
    ("classes", {}, "classes"),
    ("classes", {"advice": {"years": -1, "from": "case", "counts": "days"}}, "years"),
    ("classes", {"advice": {"years": 1.5, "from": "case", "counts": "days"}}, "years"),
    ("classes", {"advice": {"years": 1, "from": "birth", "counts": "days"}}, "from"),
    ("classes", {"advice": {"years": 1, "from": "case"}}, "counts"),
]


@pytest.mark.parametrize(("member", "value", "reason"), BROKEN)
def test_a_policy_that_makes_no_sense_is_refused(tmp_path: Path, member: str, value: object, reason: str) -> None:
    """The message says what is wrong. Nothing is guessed."""
    text = json.loads((HOME / "retention.json").read_text("utf-8"))
    (tmp_path / "retention.json").write_text(json.dumps({**text, member: value}), "utf-8")
    with pytest.raises(BadPolicy, match=reason):
        Retention.load(tmp_path / "retention.json")
