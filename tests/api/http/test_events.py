"""The search of events, and one event as it was recorded."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ledger.domain.access_policy import AccessPolicy
from ledger.proof.format.commitments import open_value
from ledger.service.policies import Policies
from projections.event_search import count
from projections.event_texts.model import EVENT_TEXTS
from projections.rebuild import rebuild_read_models
from projections.registry import READ_MODELS
from tests.api.acting import EDIT, LARGE, Acting, second_tokens
from tests.api.served import Api, problem, served
from tests.projections.scenes import ask
from tests.projections.test_reads import run
from tests.subjects import subject
from tests.support import connect

ALL = "SELECT position, type, stream, body::json, recorded_at FROM events ORDER BY position"
MANY = """
    INSERT INTO event_index (stream, id, version, type, created_at, occurred_at)
    SELECT 'request-' || n, n, 1, CASE WHEN n > 3000 THEN 'b' ELSE 'a' END, now(), now() FROM generate_series(1, 6000) n
"""
POLICY = AccessPolicy.load()
ZONES = ("UTC", "Europe/Zurich", "America/New_York", "Pacific/Apia", "Asia/Kolkata")


@pytest.fixture(scope="module")
def acting(api: Api) -> Acting:
    """A ledger with two clients, edits, confirmations and declines."""
    second_tokens(api)
    acting = Acting(api)
    for number in range(6):
        recommendation = acting.proposed(client_id=f"client-{number % 2}", amount_usd=LARGE, notes="private")
        decided = acting.decided(recommendation, **(EDIT if number % 3 else {}))
        if number % 2:
            acting.confirm(decided, "compliance", rationale="seen")
    return acting


def events(api: Api) -> list[dict[str, Any]]:
    """Return all events as the table has them."""
    with connect(api.url) as conn:
        rows = conn.execute(ALL).fetchall()
        clients = dict(conn.execute("SELECT stream, client_id FROM stream_clients").fetchall())
    return [
        {"position": position, "type": type_, "stream": stream, "client_id": clients.get(stream), **body["data"]}
        | {"actor": body["actor"]["id"], "role": body["actor"]["role"], "at": at}
        for position, type_, stream, body, at in rows
    ]


def searched(api: Api, **query: Any) -> dict[str, Any]:
    """Return a page of a search. `role` is a filter here."""
    found: dict[str, Any] = api.call("GET", "/events", "compliance", params=query).json()
    return found


def positions(api: Api, **query: Any) -> list[int]:
    """Return the positions on all pages of a search."""
    found: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = searched(api, **query, **cursor)
        found += [item["position"] for item in page["items"]]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


def test_a_search_is_a_filter_over_all_events(acting: Acting) -> None:
    """Any combination of filters, in both orders and by any size of page, finds what a loop over all events finds."""
    check_search(acting.api, events(acting.api))


@settings(max_examples=8, deadline=None, phases=[Phase.generate])
@given(data=st.data())
def check_search(api: Api, everything: list[dict[str, Any]], data: st.DataObject) -> None:
    """Search as of the end, or of a position before it."""
    sample = data.draw(st.sampled_from(everything))
    names = data.draw(st.sets(st.sampled_from(["type", "actor", "role", "stream", "client_id", "outcome"])))
    query: dict[str, Any] = {name: sample[name] for name in names if sample.get(name) is not None}
    low, high = sorted(data.draw(st.tuples(*[st.integers(1, len(everything))] * 2)))
    query |= data.draw(st.sampled_from([{}, {"position_from": low}, {"position_from": low, "position_to": high}]))
    as_of = data.draw(st.sampled_from([len(everything), low]))
    wanted = [
        event["position"]
        for event in everything
        if all(event.get(name) == query[name] for name in names & query.keys())
        and query.get("position_from", 0) <= event["position"] <= min(as_of, query.get("position_to", as_of))
    ]
    order = data.draw(st.sampled_from(["newest", "oldest"]))
    found = positions(api, **query, as_of=as_of, order=order, limit=data.draw(st.integers(30, 90)))
    assert found == (wanted if order == "oldest" else wanted[::-1])
    counted = searched(api, **query, as_of=as_of, count=True, limit=1)
    assert counted["count"] == {"events": len(wanted), "exact": True, "estimated": None}
    assert counted["as_of"] == as_of


def test_pages_stay_right_while_events_arrive(acting: Acting) -> None:
    """Events that are recorded between two pages move no other event, in either order."""
    api = acting.api
    for order in ("newest", "oldest"):
        first = api.get("/events", order=order, limit=5).json()
        acting.proposed(client_id="client-9")
        second = api.get("/events", order=order, limit=200, cursor=first["next_cursor"]).json()
        positions = [item["position"] for page in (first, second) for item in page["items"]]
        wanted = list(range(1, first["as_of"] + 1))[:205] if order == "oldest" else range(first["as_of"], 0, -1)
        assert positions == list(wanted)[:205]
        assert second["as_of"] == first["as_of"]


def test_a_client_is_found_by_number_and_by_identifier(acting: Acting) -> None:
    """Both find the same; nobody's number and identifier are 404, and both together are 422."""
    api = acting.api
    [client] = api.items("/clients", client_id="client-1")
    by_name = positions(api, client_id="client-1", order="oldest")
    assert by_name == positions(api, client=client["id"], order="oldest")
    assert by_name == [event["position"] for event in events(api) if event["client_id"] == "client-1"]
    problem(api.get("/events", client=999), 404, "client-unknown")
    problem(api.get("/events", client_id="nobody"), 404, "client-unknown")
    problem(api.get("/events", client_id="client-1", client=1), 422, "invalid")
    problem(api.get("/events", position_from=3, position_to=2), 422, "invalid")


def test_amounts_and_models_are_filters(acting: Acting) -> None:
    """An amount finds requests, both ends included; a model finds what names it."""
    api = acting.api
    asked = [event["position"] for event in events(api) if event.get("amount_usd") == LARGE]
    assert positions(api, amount_from=LARGE, amount_to=LARGE, order="oldest") == asked
    assert positions(api, amount_from="1000000.01") == []
    assert {item["type"] for item in api.items("/events", model="model-a")} == {"recommendation.recorded"}


def test_csv_and_ndjson_have_all_rows(acting: Acting) -> None:
    """All events that match come in one answer, beyond the size of a page; other types are 406."""
    api = acting.api
    upto = api.get("/events", limit=1).json()["as_of"]
    wanted = list(range(upto, 0, -1))
    as_csv = api.call("GET", f"/events?as_of={upto}", "compliance", headers={"Accept": "text/csv"})
    assert as_csv.headers["content-type"].startswith("text/csv")
    assert as_csv.headers["ledger-as-of"] == str(upto)
    rows = list(csv.DictReader(io.StringIO(as_csv.text)))
    assert [int(row["position"]) for row in rows] == wanted
    accept = {"Accept": "application/x-ndjson, text/csv;q=0.1"}
    lines = api.call("GET", f"/events?as_of={upto}", "compliance", headers=accept).text.splitlines()
    found = [json.loads(line) for line in lines]
    assert [line["position"] for line in found] == wanted
    assert rows[-1]["recorded_at"] == found[-1]["recorded_at"]
    short = api.call("GET", "/events?limit=3", "compliance", headers={"Accept": "text/*"})
    assert len(short.text.splitlines()) == 4
    for nothing in ("application/xml", "text/csv;q=0", "nonsense"):
        problem(api.call("GET", "/events", "compliance", headers={"Accept": nothing}), 406, "not-acceptable")
    problem(api.call("GET", "/events?from=x", "compliance", headers={"Accept": "text/csv"}), 422, "invalid")


def test_an_event_is_shown_as_it_was_recorded(acting: Acting) -> None:
    """Body and hashes are those of the chain, sealed values open their commitments, and a checkpoint is null yet."""
    api = acting.api
    [decision] = api.items("/events", type="recommendation.decided", outcome="edit", limit=1)
    shown = api.get(f"/events/{decision['position']}").json()
    with connect(api.url) as conn:
        query = "SELECT body, encode(hash, 'hex'), encode(prev_hash, 'hex') FROM events WHERE position = %s"
        [recorded] = conn.execute(query, [decision["position"]]).fetchall()
    assert (shown["body"], shown["hash"], shown["prev_hash"]) == recorded
    assert (shown["actor"]["role"], shown["data"]["outcome"]) == ("advisor", "edit")
    assert shown["sealed"].keys() == {"rationale", "replacement"}
    for name, sealed in shown["sealed"].items():
        assert sealed["state"] == "shown"
        assert open_value(name, sealed["salt"], sealed["value"], sealed["commitment"]) is not None
    assert (shown["checkpoint"], shown["signature"]) == (None, None)
    problem(api.get("/events/999999"), 404, "event-unknown")
    problem(api.get(f"/events/{decision['position']}", as_of=decision["position"] - 1), 404, "event-unknown")
    problem(api.get("/events/1", "advisor"), 403, "wrong-role")
    problem(api.get("/events", "agent"), 403, "wrong-role")


def test_who_searched_and_who_read_is_on_record(acting: Acting) -> None:
    """The record of a search names the requests on the page and no value of a filter; a streamed answer each page."""
    api = acting.api
    api.tokens["searcher"] = subject(api.url, "searcher", "compliance")
    api.get("/events", "searcher", client_id="client-1", type="portfolio.requested")
    [newest] = api.items("/access", subject="searcher", limit=1)
    requests = {item["request_id"] for item in api.items("/events", client_id="client-1", type="portfolio.requested")}
    assert (newest["resource"], newest["parameters"]) == ("GET /events", ["client_id", "type"])
    assert set(newest["requests"]) == requests
    api.get("/events", "searcher", client_id="nobody-here")
    [newest] = api.items("/access", subject="searcher", limit=1)
    assert (newest["parameters"], newest["requests"], newest["rows"]) == (["client_id"], None, 0)
    first = min(item["position"] for item in api.items("/events", type="portfolio.requested", limit=200))
    api.get(f"/events/{first}", "searcher")
    [newest] = api.items("/access", subject="searcher", limit=1)
    assert (newest["resource"], newest["requests"]) == ("GET /events/{position}", [1])


def edges() -> list[datetime]:
    """The first and last microseconds of days around a leap day and changes of the clock, in several zones."""
    days = (date(2024, 2, 29), date(2024, 3, 1), date(2024, 3, 31), date(2024, 4, 1), date(2024, 10, 27))
    starts = {datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC) for day in days for zone in ZONES}
    return sorted(start + offset * timedelta(microseconds=1) for start in starts for offset in (-1, 0, 0, 1))


@pytest.mark.tampers
def test_a_window_holds_what_was_recorded_in_it(database_url: str) -> None:
    """For days of any zone and for times, both edges are right: from the first instant, up to before the end."""
    with connect(database_url) as conn:
        moments = edges()
        ask(conn, len(moments))
        conn.execute("ALTER TABLE events DISABLE TRIGGER ALL")
        with conn.cursor() as cursor:
            cursor.executemany("UPDATE events SET recorded_at = %s WHERE position = %s", zip_positions(moments))
    rebuild_read_models(database_url, list(READ_MODELS))
    with served(database_url) as api:

        @settings(max_examples=25, deadline=None)
        @given(data=st.data())
        def check(data: st.DataObject) -> None:
            zone = data.draw(st.sampled_from(ZONES))
            first, last = sorted(data.draw(st.tuples(*[st.sampled_from([each.date() for each in moments])] * 2)))
            start, end = sorted(data.draw(st.tuples(*[st.sampled_from(moments)] * 2)))
            in_days = data.draw(st.booleans())
            given_ = (first, last) if in_days else (start, end)
            query = {"from": given_[0].isoformat(), "to": given_[1].isoformat(), "zone": zone}
            found = positions(api, **query, type="portfolio.requested", order="oldest", limit=200)
            local = [moment.astimezone(ZoneInfo(zone)).date() for moment in moments]
            inside = [
                first <= day <= last if in_days else start <= moment < end
                for moment, day in zip(moments, local, strict=True)
            ]
            assert found == [position for position, is_inside in enumerate(inside, 1) if is_inside]

        check()
        problem(api.get("/events", **{"from": "2024-03-02", "to": "2024-02-29"}), 422, "invalid")


def zip_positions(moments: list[datetime]) -> list[tuple[datetime, int]]:
    """Pair each time with a position, from 1 on."""
    return [(moment, position) for position, moment in enumerate(moments, 1)]


def test_a_search_by_text_finds_the_events_with_these_words(acting: Acting) -> None:
    """In any script, also as of a position and with other filters; a text without a word is refused, by name."""
    api = acting.api
    request = api.asked(client_id="client-texts", notes="Vorsicht: größere Beträge, 資産配分表 und «диверсификация»")
    [at] = positions(api, request_id=request)
    for text in ("GRÖSSERE beträge", "資産配分", "配分表", "ДИВЕРСИФИКАЦИЯ", "vorsich*", "client-texts"):
        assert at in positions(api, text=text), text
    assert positions(api, text="vorsicht beträge", type="portfolio.requested") == [at]
    assert positions(api, text="vorsicht", as_of=at - 1) == []
    assert positions(api, text="vorsicht missing") == []
    assert searched(api, text="vorsicht", count=True)["count"] == {"events": 1, "exact": True, "estimated": None}
    problem(api.get("/events", text="…"), 422, "invalid")


@pytest.mark.tampers
def test_a_count_of_many_says_that_it_is_an_estimate(database_url: str) -> None:
    """Up to a limit events are counted; of more, the answer has that bound and the estimate of the database."""
    with connect(database_url) as conn:
        conn.execute(MANY)
        conn.execute("ANALYZE event_index")
    few, many = (run(database_url, partial(count, filters={"type": "a"}, most=most)) for most in (10_000, 100))
    assert few == (3000, True, None)
    assert (many.events, many.exact) == (100, False)
    assert 2500 < (many.estimated or 0) < 3500


@pytest.mark.parametrize("near", [1, 7, 10_000])
def test_words_are_found_wherever_they_stand(acting: Acting, monkeypatch: pytest.MonkeyPatch, near: int) -> None:
    """Looked for one after another or by the index of words: the same events, in both orders, page after page."""
    monkeypatch.setattr("projections.event_search.NEAR", near)
    api = acting.api
    for number in range(4):
        api.asked(client_id=f"client-word{number}", notes="tangerine" if number % 2 else "something else")
    whole: list[int] = [item["position"] for item in api.items("/events", limit=200, order="oldest")]
    expected: dict[str, list[int]] = {"private": [], "tangerine": []}
    for at in whole:
        values = api.get(f"/events/{at}").json()["sealed"].values()
        for word, found in expected.items():
            if any(word in str(value["value"]) for value in values):
                found.append(at)
    for word, found in expected.items():
        assert len(found) >= 2
        assert positions(api, text=word, order="oldest", limit=200) == found
        assert positions(api, text=word, order="newest", limit=200) == found[::-1]
        assert positions(api, text=word, type="recommendation.recorded", limit=200) == []
        assert positions(api, text=word, position_from=found[1], order="oldest", limit=200) == found[1:]
        page = searched(api, text=word, order="oldest", limit=1)
        assert [item["position"] for item in page["items"]] == found[:1]
        rest = searched(api, text=word, order="oldest", limit=200, cursor=page["next_cursor"])
        assert [item["position"] for item in rest["items"]] == found[1:]


@pytest.mark.tampers
def test_sealed_values_that_are_gone_are_not_found(database_url: str) -> None:
    """Folding again after values were deleted, as an erasure does, leaves no word of them in the index."""
    with served(database_url) as api:
        api.asked(client_id="client-erased", notes="unmistakable")
        assert len(positions(api, text="unmistakable")) == 1
        with connect(database_url) as conn:
            conn.execute("ALTER TABLE sealed_fields DISABLE TRIGGER ALL")
            conn.execute("DELETE FROM sealed_fields")
        rebuild_read_models(database_url, [EVENT_TEXTS])
        assert positions(api, text="unmistakable") == []
        with connect(database_url) as conn:
            assert conn.execute("SELECT count(*) FROM event_texts WHERE words <> ''").fetchone() == (0,)


def test_who_may_not_see_all_sealed_values_may_not_search_them(api: Api, module_ledger: str) -> None:
    """By words one could find out what one may not read: so it takes the right to read each kind of sealed value."""
    permissions = {name: dict(roles) for name, roles in POLICY.permissions.items()}
    del permissions["read model calls"]["compliance"]
    policies = replace(Policies.packaged(), access=replace(POLICY, permissions=permissions))
    with served(module_ledger, tokens=api.tokens, policies=policies) as strict:
        problem(strict.get("/events", "compliance", text="private"), 403, "wrong-role")
        assert strict.get("/events", "compliance").status_code == 200


def test_answers_to_callers_with_a_token_are_compressed(acting: Acting) -> None:
    """With the header Authorization alone, which nobody else can make a browser send; a short answer as it is."""
    api = acting.api
    for accept in ("application/json", "text/csv"):
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        packed = api.call("GET", "/events?as_of=9", "compliance", headers=headers)
        assert packed.headers["content-encoding"] == "gzip"
        plain = api.call("GET", "/events?as_of=9", "compliance", headers={**headers, "Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert (packed.text, packed.headers["vary"]) == (plain.text, "Accept-Encoding")
    assert "content-encoding" not in api.call("GET", "/schemas", None, headers={"Accept-Encoding": "gzip"}).headers
    assert "content-encoding" not in api.get("/events/999999").headers
