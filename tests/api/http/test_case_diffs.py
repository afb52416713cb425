"""The difference of a case between two dates is that of what is known at the end of each."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.store.envelope import NewEvent, uuid7
from schema.events import (
    PortfolioRequested,
    RecommendationDecided,
    RecommendationOpened,
    RecommendationRecorded,
    RequestWithdrawn,
)
from tests.api.http.test_imported_events import ANN, ZONES, imported
from tests.api.served import Api, problem
from tests.support import append, connect

DIGEST = "00" * 32
# Around the ends of a leap day: in UTC, and in Auckland, whose day begins at 11:00 UTC.
TIMES = ("2020-02-28T10:59:59.999999Z", "2020-02-28T23:59:59.999999Z", "2020-02-29T00:00:00Z", "2020-02-29T11:00:00Z")
DATES = [date(2020, 2, day) for day in (27, 28, 29)] + [date(2020, 3, 1), date(2999, 1, 1)]
LISTS = {"recommendation": "/recommendations", "decision": "/decisions"}
STEPS = "SELECT position, acted_at(body, recorded_at) FROM events WHERE stream = 'request-1' ORDER BY position"
Steps = list[tuple[int, datetime]]


@pytest.fixture(scope="module")
def steps(api: Api) -> Steps:
    """The positions and times of a case with imported acts and a live one."""
    with connect(api.url) as conn:
        asked = PortfolioRequested(client_id="client-1", risk_profile="balanced", amount_usd="1000", notes="a")
        append(conn, imported("request-1", asked, TIMES[0]))
        answer = RecommendationRecorded(recommendation={"weights": {"cash": "1"}}, model_name="m")
        [recommendation] = append(conn, imported("request-1", answer, TIMES[1]))
        of = {"recommendation_id": recommendation.position, "digest": DIGEST}
        append(conn, imported("request-1", RecommendationOpened.model_validate(of), TIMES[2]))
        decided = {**of, "outcome": "reject", "reason_code": "house-view", "four_eyes_version": "1"}
        decided |= {"needs_second": False, "second_rules": []}
        append(conn, imported("request-1", RecommendationDecided.model_validate(decided), TIMES[3]))
        append(conn, NewEvent(uuid7(), "request-1", RequestWithdrawn(reason_code="duplicate"), ANN))
        return conn.execute(STEPS).fetchall()


def rows(api: Api, position: int) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the rows of the case as of a position, by kind and id."""
    if position == 0:
        return {}
    found = {("request", 1): api.get("/portfolio/requests/1", as_of=position).json()}
    for kind, path in LISTS.items():
        found |= {(kind, row["id"]): row for row in api.items(path, request_id=1, as_of=position)}
    return found


def test_a_diff_is_the_naive_difference(api: Api, steps: Steps) -> None:
    """Between any two times or days, of any zone: the members of rows that differ, no more and no fewer."""
    known = {position: rows(api, position) for position in (0, *(position for position, _ in steps))}
    ticks = [
        at + tick for _, at in steps for tick in (-timedelta(microseconds=1), timedelta(), timedelta(microseconds=1))
    ]
    ends = st.sampled_from([*ticks, *DATES])

    @settings(max_examples=60, deadline=None)
    @given(st.none() | ends, ends, st.sampled_from(ZONES))
    def check(first: datetime | date | None, last: datetime | date, zone: str) -> None:
        start, end = edge(first, zone, 0), edge(last, zone, 1)
        assert end is not None
        query = {name: each.isoformat() for name, each in (("from", first), ("to", last)) if each} | {"zone": zone}
        answer = api.get("/cases/1/diff", **query)
        # A day ends before the first instant of the next one.
        last_instant = end if isinstance(last, datetime) else end - timedelta(microseconds=1)
        if start is not None and last_instant < start:
            problem(answer, 422, "invalid")
            return
        since, upto = (
            max((p for p, at in steps if each is not None and at < each), default=0) for each in (start, end)
        )
        if upto == 0:
            problem(answer, 404, "request-unknown")
            return
        found = answer.json()
        assert (found["since"], found["as_of"]) == (since, upto)
        assert members(found["changes"]) == difference(known[since], known[upto])

    check()


def edge(each: datetime | date | None, zone: str, days: int) -> datetime | None:
    """Return the instant of an end of a window; a date is a whole day of the zone."""
    if each is None or isinstance(each, datetime):
        return each
    return datetime.combine(each + timedelta(days=days), time(), ZoneInfo(zone)).astimezone(UTC)


def members(changes: list[dict[str, Any]]) -> set[tuple[str, int, str]]:
    """Return the members of rows that a diff names."""
    return {
        (row["kind"], row["id"], field["path"].split(".")[0].split("[")[0])
        for row in changes
        for field in row["fields"]
    }


def difference(
    before: dict[tuple[str, int], dict[str, Any]], after: dict[tuple[str, int], dict[str, Any]]
) -> set[tuple[str, int, str]]:
    """Return the members that differ; of a row that is new, all. Lists add the salts, which are no member of a row."""
    return {
        (*key, name)
        for key, row in after.items()
        for name, value in row.items()
        if name != "salts" and (name not in (old := before.get(key, {})) or old[name] != value)
    }
