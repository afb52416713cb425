"""Imported events over HTTP: found and shown by when they took place and by whom, and who imported them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ledger.database import Connection
from ledger.proof.format.canonical import JSON
from ledger.store.envelope import Actor, Backfill, NewEvent, uuid7
from schema.clients import ClientRegistered
from schema.events import PortfolioRequested, RecommendationRecorded
from tests.api.served import Api
from tests.support import append, connect

IMPORTER = Actor(id="cli:olga", kind="human", role="operator")
ANN = Actor(id="ann", kind="human", role="advisor")
DAYS = [f"20{year}-0{month}-01T12:00:00.250000Z" for year in (19, 20, 21) for month in (1, 2, 3)]
# Around the ends of a leap day, in UTC and elsewhere.
LEAP = [f"2020-02-{time}Z" for time in ("28T23:59:59.999999", "29T00:00:00", "29T10:59:59.999999", "29T11:00:00")]
DATES = [date(2019, 12, 31), date(2020, 2, 28), date(2020, 2, 29), date(2020, 3, 1), date(2021, 3, 1)]
# So many events are looked through before the index of words; and a word that all have.
WORDS = [None, (1, "client-1"), (5, "client-1"), (1000, "client-1")]
ZONES = ["UTC", "Pacific/Auckland", "America/New_York", "Asia/Kathmandu"]


def imported(stream: str, event: Any, at: str, actor: Actor = ANN) -> NewEvent:
    """An imported event."""
    source: dict[str, JSON] = {"name": "old", "file": "old.ndjson", "line": 1, "id": "1"}
    return NewEvent(uuid7(), stream, event, IMPORTER, backfill=Backfill(actor, at, source))


def fill(conn: Connection) -> None:
    """Append imported requests between live ones, with times in another order than their positions."""
    append(conn, NewEvent(uuid7(), "client-1", ClientRegistered(client_id="client-1"), ANN))
    for number, at in enumerate(DAYS[::2] + LEAP[::-1] + DAYS[1::2], 1):
        asked = PortfolioRequested(client_id="client-1", risk_profile="balanced", amount_usd="1000")
        append(conn, imported(f"request-{2 * number - 1}", asked, at))
        append(conn, NewEvent(uuid7(), f"request-{2 * number}", asked, ANN))


@pytest.fixture(scope="module")
def filled(api: Api) -> Api:
    """A ledger with imported and other requests."""
    with connect(api.url) as conn:
        fill(conn)
    return api


def instants(end: datetime | date | None, zone: ZoneInfo) -> tuple[datetime | None, datetime | None]:
    """Return the first instant of an end of a window, and the first after it: a date is a whole day of the zone."""
    if end is None or isinstance(end, datetime):
        return end, end
    first, after = (datetime.combine(day, time(), zone) for day in (end, end + timedelta(days=1)))
    return first.astimezone(UTC), after.astimezone(UTC)


def test_a_window_of_time_holds_what_took_place_in_it(filled: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any window finds the imported events of then, and the others by when they were recorded, in that order.

    Searches and timelines agree with a filter over all events, at both edges, around a leap day and in any zone.
    """
    api = filled
    with connect(api.url) as conn:
        everything = conn.execute(
            "SELECT position, coalesce((body::json->'backfill'->>'occurred_at')::timestamptz, recorded_at)"
            " FROM events WHERE type = 'portfolio.requested'"
        ).fetchall()
    ends = st.sampled_from([None, *DATES, *(at for _, at in everything)])

    @settings(max_examples=40, deadline=None)
    @given(ends, ends, st.sampled_from(ZONES), st.sampled_from(["newest", "oldest"]), st.sampled_from(WORDS))
    def check(
        first: datetime | date | None,
        last: datetime | date | None,
        zone: str,
        order: str,
        words: tuple[int, str] | None,
    ) -> None:
        near, text = words or (0, None)
        monkeypatch.setattr("projections.event_search.NEAR", near)
        (start, _), (_, end) = (instants(each, ZoneInfo(zone)) for each in (first, last))
        assume(start is None or end is None or start < end)
        query = {name: each.isoformat() for name, each in (("from", first), ("to", last)) if each} | {"zone": zone}
        found = pages(
            api, **query, **({"text": text} if text else {}), type="portfolio.requested", order=order, limit=4
        )
        by_time = sorted(everything, key=lambda each: (each[1], each[0]))
        wanted = [position for position, at in by_time if (start is None or start <= at) and (end is None or at < end)]
        assert found == (wanted if order == "oldest" else wanted[::-1])
        timeline = api.get("/clients/1/timeline", **query, limit=2000).json()
        steps = [event for case in timeline["cases"] for event in case["events"]]
        assert [step["position"] for step in steps if step["type"] == "portfolio.requested"] == [
            position for position, _ in by_time if position in wanted
        ]

    check()


def test_a_page_is_right_as_of_then(filled: Api) -> None:
    """Of what was known as of any position, and of any range of positions, pages have the order of time."""
    everything = filled.get("/events", limit=200).json()["items"]
    for upto, first, order in product((4, 17, 33), (1, 12), ("newest", "oldest")):
        known = [item["position"] for item in everything if first <= item["position"] <= upto]
        found = pages(filled, as_of=upto, position_from=first, order=order, limit=3)
        assert found == (known if order == "newest" else known[::-1])


def test_followers_get_events_in_the_order_of_recording(filled: Api) -> None:
    """Whatever the times of imported events are: a position is where the follower goes on."""
    answer = filled.call("GET", "/events/stream?as_of=33&type=portfolio.requested", "compliance")
    found = [int(line[4:]) for line in answer.text.splitlines() if line.startswith("id: ")]
    assert found[:-2] == sorted(
        item["position"]
        for item in filled.get("/events", as_of=33, type="portfolio.requested", limit=200).json()["items"]
    )


def pages(api: Api, **query: Any) -> list[int]:
    """Return the positions on all pages of a search."""
    found: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = api.get("/events", **query, **cursor).json()
        found += [item["position"] for item in page["items"]]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


def test_rows_and_steps_show_who_acted_and_when(filled: Api) -> None:
    """Rows as if it had been recorded then; events and steps also say who imported them, and from which line."""
    api = filled
    with connect(api.url) as conn:
        answer = RecommendationRecorded(recommendation={"a": 1}, model_name="m")
        robot = Actor(id="robot", kind="agent", role="agent")
        [receipt] = append(conn, imported("request-1", answer, DAYS[1], robot))
        request = api.get("/portfolio/requests/1").json()
        assert request["requested_by"] == "ann"
        assert datetime.fromisoformat(request["created_at"]) == datetime(2019, 1, 1, 12, 0, 0, 250_000, UTC)
        row = api.get(f"/recommendations/{receipt.position}").json()
        assert (row["agent"], row["created_at"][:19], row["state"]) == ("robot", DAYS[1][:19], "proposed")
        [item] = api.items("/events", stream="request-1", type="recommendation.recorded")
        assert (item["actor"], item["imported_by"]) == ("robot", "cli:olga")
        assert (item["occurred_at"][:19], item["recorded_at"][:4] > "2021") == (DAYS[1][:19], True)
        shown = api.get(f"/events/{receipt.position}").json()
        assert shown["actor"]["id"] == "cli:olga"
        assert (shown["backfill"]["actor"]["id"], shown["backfill"]["source"]["file"]) == ("robot", "old.ndjson")
        [step] = [step for step in api.get("/cases/1").json()["events"] if step["position"] == receipt.position]
        assert step["backfill"] == shown["backfill"]


def test_an_imported_queue_is_nobodys_task(filled: Api) -> None:
    """Agents are not given the requests; after a response of an advisor here, they are."""
    api = filled
    with connect(api.url) as conn:
        asked = PortfolioRequested(client_id="client-q", risk_profile="balanced", amount_usd="1000")
        append(conn, imported("request-99", asked, DAYS[0]))
    row = api.get("/portfolio/requests/99").json()
    assert (row["status"], row["imported"]) == ("queued", True)
    given = [item["request_id"] for item in api.call("GET", "/assignments", "agent").json()["items"]]
    assert 99 not in given
    assert set(given) >= {2, 4}
    with connect(api.url, "writer") as conn:
        claimed = conn.execute("SELECT request_id FROM claim_requests('w', interval '1 minute', 100)").fetchall()
    assert (99,) not in claimed
    recommendation = api.answered(99)
    digest = api.get(f"/recommendations/{recommendation}").json()["digest"]
    body = {"digest": digest, "outcome": "respond", "response": "less risk"}
    assert api.call("POST", f"/recommendations/{recommendation}/decisions", "advisor", json=body).status_code == 201
    row = api.get("/portfolio/requests/99").json()
    assert (row["status"], row["imported"]) == ("queued", False)
