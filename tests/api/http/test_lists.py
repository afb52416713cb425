"""Lists for people: filters, order, counts, summaries, other forms, and the position that an answer stands at."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from projections.ai_recommendations.model import RecommendationSummary, ShownRecommendation
from projections.decisions.model import DecisionSummary
from projections.portfolio_requests.model import RequestSummary
from tests.api.acting import EDIT, LARGE, Acting, second_tokens
from tests.api.served import Api, fields, problem

SUMMARIES: dict[str, type[BaseModel]] = {
    "/portfolio/requests": RequestSummary,
    "/recommendations": RecommendationSummary,
    "/decisions": DecisionSummary,
}
CSV = {"Accept": "text/csv"}
# How the ids of rows are read from other forms.
FORMS: dict[str, Callable[[str], list[int]]] = {
    "text/csv": lambda text: [int(row["id"]) for row in csv.DictReader(io.StringIO(text))],
    "application/x-ndjson": lambda text: [json.loads(line)["id"] for line in text.splitlines()],
}
ZONES = ("UTC", "Europe/Zurich", "America/New_York", "Pacific/Apia", "Asia/Kolkata")


@pytest.fixture(scope="module")
def acting(api: Api) -> Acting:
    """Three clients; edits, confirmations, declines and communications; a recommendation that nobody decided."""
    second_tokens(api)
    acting = Acting(api)
    for number in range(7):
        amount = LARGE if number % 2 else "1000.00"
        recommendation = acting.proposed(client_id=f"client-{number % 3}", amount_usd=amount, notes="private")
        if number == 6:
            break
        decided = acting.decided(recommendation, **(EDIT if number % 3 else {}))
        if decided["needs_second"]:
            acting.confirm(decided, "compliance", outcome="decline" if number == 3 else "approve", rationale="seen")
        row = api.get(f"/recommendations/{recommendation}").json()
        if row["state"] in {"approved", "edited"}:
            told = {"digest": row["digest"], "channel": "phone"}
            path = f"/recommendations/{recommendation}/communications"
            assert api.call("POST", path, json=told).status_code == 201
    return acting


def everything(api: Api, path: str) -> list[dict[str, Any]]:
    """Return all rows of a list, the newest first."""
    return api.items(path, limit=200)


def drawn(data: st.DataObject, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Draw filters, with values that a row has."""
    sample = data.draw(st.sampled_from(rows))
    names = data.draw(
        st.sets(st.sampled_from(["requested_by", "decided_by", "reason_code", "state", "amount", "times"]))
    )
    query: dict[str, Any] = {}
    for name in names & sample.keys():
        if sample[name] is not None:
            query[name] = sample[name]
    if "state" in query:
        query["state"] = [query["state"], *data.draw(st.sampled_from([[], [rows[0]["state"]]]))]
    if "amount" in names:
        query |= data.draw(
            st.sampled_from([{"amount_from": sample["amount_usd"]}, {"amount_to": sample["amount_usd"]}])
        )
    if "times" in names:
        name, column = data.draw(st.sampled_from([("communicated", "communicated_at"), ("decided", "decided_at")]))
        at = sample.get(column, sample["created_at"])
        if at is not None:
            edge = data.draw(st.sampled_from(["from", "to"]))
            moved = datetime.fromisoformat(at) + timedelta(microseconds=data.draw(st.integers(-1, 1)))
            query[f"{name}_{edge}"] = moved.isoformat()
    return query


def matches(row: dict[str, Any], name: str, value: Any) -> bool:
    """Say whether a row matches a parameter of a list."""
    about, _, edge = name.rpartition("_")
    if about == "amount":
        amount, bound = float(row["amount_usd"]), float(value)
        return amount >= bound if edge == "from" else amount <= bound
    if edge in {"from", "to"}:
        column = "created_at" if about == "decided" and "decided_at" not in row else f"{about}_at"
        if row[column] is None:
            return False
        at, bound_at = datetime.fromisoformat(row[column]), datetime.fromisoformat(value)
        return at >= bound_at if edge == "from" else at < bound_at
    return bool(row[name] in value if isinstance(value, list) else row[name] == value)


def pages(api: Api, path: str, **query: Any) -> list[dict[str, Any]]:
    """Return the rows of all pages."""
    page = api.get(path, **query).json()
    found: list[dict[str, Any]] = page["items"]
    while page["next_cursor"] is not None:
        page = api.get(path, **query, cursor=page["next_cursor"]).json()
        found += page["items"]
    return found


@pytest.mark.parametrize("path", ["/recommendations", "/decisions"])
def test_a_list_is_a_filter_over_all_rows(acting: Acting, path: str) -> None:
    """Any filters in both orders, now and as of a position: what a loop over all rows finds, to the microsecond.

    It is the same list in pages, counted, as a summary, as CSV and as NDJSON.
    """
    api, last = acting.api, acting.api.head()[0]

    @settings(max_examples=12, deadline=None, phases=[Phase.generate])
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        then = data.draw(st.sampled_from([None, last]) | st.integers(last // 3, last))
        upto = {} if then is None else {"as_of": then}
        rows = api.items(path, limit=200, **upto)
        query = drawn(data, rows or everything(api, path))
        order = data.draw(st.sampled_from(["newest", "oldest"]))
        wanted = [row for row in rows if all(matches(row, *each) for each in query.items())]
        wanted = wanted if order == "newest" else wanted[::-1]
        query |= {**upto, "order": order}
        assert pages(api, path, **query, limit=data.draw(st.integers(2, 5))) == wanted
        short = api.get(path, **query, limit=200, count=True, fields="summary").json()
        assert [row["id"] for row in short["items"]] == [row["id"] for row in wanted]
        assert short["count"] == {"rows": len(wanted), "exact": True}
        accept, ids = data.draw(st.sampled_from(list(FORMS.items())))
        answer = api.call("GET", str(httpx.URL(path, params=query)), headers={"Accept": accept})
        assert ids(answer.text) == [row["id"] for row in wanted]
        if then is not None:
            assert [short["as_of"], int(answer.headers["ledger-as-of"])] == [then, then]

    check()


def test_rows_say_what_people_ask_for(acting: Acting) -> None:
    """Amount, profile and requester of the request; declines with who and when; second rules; the communication."""
    api = acting.api
    rows = everything(api, "/recommendations")
    declined = [row for row in rows if row["declines"]]
    assert [(row["state"], row["declined_by"]) for row in declined] == [("proposed", "compliance")]
    [decision] = api.items("/decisions", state="declined", recommendation_id=declined[0]["id"])
    assert (decision["state"], decision["confirmed_at"]) == ("declined", declined[0]["declined_at"])
    assert {row["amount_usd"] for row in rows} == {LARGE, "1000.00"}
    assert {(row["requested_by"], row["risk_profile"]) for row in rows} == {("advisor", "balanced")}
    assert any(row["second_rules"] for row in rows)
    told = [row for row in everything(api, "/decisions") if row["communicated_at"] is not None]
    assert {row["recommendation_id"]: row["communicated_at"] for row in told} == {
        row["id"]: row["communicated_at"] for row in rows if row["communicated_at"] is not None
    }
    assert told


@pytest.mark.parametrize("path", SUMMARIES)
def test_a_summary_has_no_contents(acting: Acting, path: str) -> None:
    """The same rows without contents, texts and salts; of what is sealed only the client."""
    whole = everything(acting.api, path)
    short = acting.api.items(path, limit=200, fields="summary")
    names = SUMMARIES[path].model_fields.keys()
    assert short == [{name: row[name] for name in row if name in names} for row in whole]
    assert not {"salts", "rationale", "recommendation", "notes", "prompt"} & names


@pytest.mark.parametrize("path", SUMMARIES)
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_csv_and_ndjson_have_all_rows(acting: Acting, path: str, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows beyond one read come too, as of the position that a header names; other types are 406."""
    monkeypatch.setattr("api.http.read_list.AT_ONCE", 2)
    api = acting.api
    rows = everything(api, path)
    wanted = [row["id"] for row in rows]
    wanted = wanted if order == "newest" else wanted[::-1]
    answer = api.call("GET", f"{path}?order={order}", "compliance", headers=CSV)
    assert FORMS["text/csv"](answer.text) == wanted
    assert int(answer.headers["ledger-as-of"]) <= api.head()[0]
    by_line = api.call("GET", f"{path}?order={order}", "compliance", headers={"Accept": "application/x-ndjson"})
    lines = [json.loads(line) for line in by_line.text.splitlines()]
    assert lines == (rows if order == "newest" else rows[::-1])
    assert api.call("GET", f"{path}?limit=3", "compliance", headers=CSV).text.count("\r\n") == 4
    problem(api.call("GET", path, "compliance", headers={"Accept": "application/pdf"}), 406, "not-acceptable")


def test_csv_of_a_summary_has_its_columns_and_of_a_row_its_json(acting: Acting) -> None:
    """A cell with JSON has the JSON; a list without rows has the names of its columns."""
    api = acting.api
    short = api.call("GET", "/recommendations?fields=summary", "compliance", headers=CSV).text
    assert short.partition("\r\n")[0].split(",") == list(RecommendationSummary.model_fields)
    whole = api.call("GET", "/recommendations", "compliance", headers=CSV).text
    rows = everything(api, "/recommendations")
    assert [json.loads(row["recommendation"]) for row in csv.DictReader(io.StringIO(whole))] == [
        row["recommendation"] for row in rows
    ]
    empty = api.call("GET", "/recommendations?requested_by=nobody", "compliance", headers=CSV).text
    assert empty == ",".join(ShownRecommendation.model_fields) + "\r\n"


def test_an_answer_stands_at_the_position_that_it_names(acting: Acting) -> None:
    """The same list as of that position is the same answer, also after more was recorded."""
    api = acting.api
    for path in SUMMARIES:
        now = api.get(path, limit=200, count=True).json()
        # The read itself may be on record since, as the next event.
        assert 0 <= api.head()[0] - now["as_of"] <= 1
        acting.proposed(client_id="client-later")
        then = api.get(path, limit=200, count=True, as_of=now["as_of"]).json()
        assert then == now


@pytest.mark.parametrize("zone", ZONES)
def test_a_day_of_decisions_is_the_whole_day_of_its_zone(acting: Acting, zone: str) -> None:
    """Bare dates mean days of the zone for each range, as a naive look at local dates finds."""
    api = acting.api
    rows = everything(api, "/recommendations")
    for name, column in (("decided", "decided_at"), ("communicated", "communicated_at")):
        days = {
            row["id"]: datetime.fromisoformat(row[column]).astimezone(ZoneInfo(zone)).date()
            for row in rows
            if row[column]
        }
        for day in {*days.values(), *(each + timedelta(days=1) for each in days.values())}:
            query = {f"{name}_from": str(day), f"{name}_to": str(day)}
            found = api.items("/recommendations", limit=200, zone=zone, **query)
            assert {row["id"] for row in found} == {each for each, at in days.items() if at == day}


def test_ranges_that_end_before_they_begin_are_refused(api: Api) -> None:
    """422 that names the parameter; a state that is not one, and too many of them, too."""
    for name in ("decided", "communicated"):
        reversed_range = {f"{name}_from": "2026-02-02", f"{name}_to": "2026-02-01"}
        found = problem(api.get("/recommendations", **reversed_range), 422, "invalid")
        assert fields(found) == [f"{name}_to"]
        assert f"{name}_from" in found["errors"][0]["reason"]
    problem(api.get("/decisions", amount_from=2, amount_to=1), 422, "invalid")
    problem(api.get("/decisions", state=["waiting"] * 21), 422, "invalid")
    assert fields(problem(api.get("/model-calls", fields="summary"), 422, "invalid")) == ["fields"]


def rates(rows: list[dict[str, Any]], zone: str, months: int) -> dict[tuple[str, str], tuple[int, int]]:
    """Count decisions and overrides by person and first day of the period, in plain Python."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for row in rows:
        if row["state"] != "declined":
            local = datetime.fromisoformat(row["created_at"]).astimezone(ZoneInfo(zone))
            first = f"{local.year}-{(local.month - 1) // months * months + 1:02}-01"
            counted, overrides = found.get((row["decided_by"], first), (0, 0))
            is_override = row["outcome"] in {"edit", "reject"}
            found[row["decided_by"], first] = (counted + 1, overrides + is_override)
    return found


def test_reports_are_about_what_is_asked_for(acting: Acting) -> None:
    """By client, person, window, period, zone and position: what a loop over the decisions counts."""
    api = acting.api
    rows = everything(api, "/decisions")
    middle = rows[len(rows) // 2]
    queries: list[tuple[dict[str, Any], Any]] = [
        ({}, lambda _: True),
        ({"client_id": "client-1"}, lambda row: row["client_id"] == "client-1"),
        ({"from": middle["created_at"]}, lambda row: row["created_at"] >= middle["created_at"]),
        ({"to": middle["created_at"]}, lambda row: row["created_at"] < middle["created_at"]),
        ({"person": "nobody"}, lambda _: False),
        ({"person": "advisor"}, lambda row: row["decided_by"] == "advisor"),
    ]
    for query, wanted in queries:
        for zone, period, months in (("UTC", "month", 1), ("Pacific/Apia", "quarter", 3), ("Asia/Kolkata", "year", 12)):
            for as_of in (api.head()[0], "2100-01-01"):
                found = api.get("/reports/override-rates", zone=zone, period=period, **query, as_of=as_of).json()
                counted = {
                    (row["decided_by"], row["month"]): (row["decisions"], row["overrides"]) for row in found["items"]
                }
                assert counted == rates([row for row in rows if wanted(row)], zone, months), (query, zone, as_of)
    before = int(middle["id"]) - 1
    then = api.get("/reports/override-rates", as_of=before).json()
    assert then["as_of"] == before
    assert sum(row["decisions"] for row in then["items"]) == sum(
        row["id"] <= before and not (row["state"] == "declined" and row["confirmed_at"] < middle["created_at"])
        for row in rows
    )


def test_a_report_about_a_client_is_recorded_and_needs_the_clients_cases(acting: Acting) -> None:
    """Who asks for a client leaves a record, a client that never was is a 404, and no report names a client."""
    api = acting.api
    problem(api.get("/reports/rubber-stamps", client_id="nobody"), 404, "client-unknown")
    found = api.get("/reports/rubber-stamps", "compliance", client_id="client-1", person="advisor").json()["items"]
    assert {row["person"] for row in found} == {"advisor"}
    read = [row for row in api.items("/access", limit=200) if row["resource"] == "GET /reports/{report}"]
    assert {tuple(row["parameters"]) for row in read} >= {("client_id",), ("client_id", "person")}
