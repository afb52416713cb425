"""Corporate actions over HTTP: recorded once, refused by line and field, and what they do to a run and to would-be."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from tests.api.http.test_monitoring import POLICY, PORTFOLIO, RUNS, prices, put, run
from tests.api.served import Api, fields, problem

PATH = "/corporate-actions"
LATER = "2026-04-03"
SPLIT = {"asset": "EQ", "date": "2026-03-03", "action": "split", "ratio": "2:1"}


def send(api: Api, body: str, kind: str = "text/csv", role: str = "admin") -> httpx.Response:
    """Send a batch."""
    return api.call("POST", PATH, role, content=body, headers={"Content-Type": kind})


def ndjson(*lines: dict[str, Any]) -> str:
    """Return lines."""
    return "".join(orjson.dumps(line).decode() + "\n" for line in lines)


def test_a_split_that_is_recorded_late_shows_in_would_be_alone(fresh_api: Api) -> None:
    """Without it the price is doubtful. Recorded later, the run keeps its judgement; the next one knows it."""
    api = fresh_api
    assert put(api, "/policies/monitoring/drift", "admin", {**POLICY, "stale_after_days": 1}).status_code == 201
    assert api.call("POST", "/clients", "advisor", json={"client_id": "Anna"}).status_code == 201
    assert put(api, "/portfolios/anna", "advisor", {**PORTFOLIO, "client_id": "Anna"}).status_code == 201
    held = {"as_of": "2026-03-01", "positions": {"EQ": "6", "BD": "4"}}
    assert put(api, "/portfolios/anna/holdings", "advisor", held).status_code == 201
    for day, price in (("2026-03-02", "100"), ("2026-03-03", "50")):
        assert prices(api, day, f"asset,price,currency\nEQ,{price},USD\nBD,100,USD\n").status_code == 201
    assert run(api, "2026-03-03")["conditions"]["unknown"] == 1
    assert send(api, "asset,date,action,ratio\nEQ,2026-03-03,split,2:1\n").json() == {"lines": 1, "recorded": 1}
    would = api.get(f"{RUNS}/1/would-be", "compliance").json()
    assert would["changes"] == [{"portfolio": "anna", "condition": "unknown", "would_be": "ok"}]
    assert api.get(f"{RUNS}/1/replay", "auditor").json()["agrees"]
    assert run(api, "2026-03-04")["conditions"] == {"ok": 1, "watch": 0, "breached": 0, "unknown": 0}
    with api.records_nothing():
        assert send(api, ndjson(SPLIT), "application/x-ndjson").json() == {"lines": 1, "recorded": 0}
    back = send(api, ndjson({**SPLIT, "withdrawn": True}), "application/x-ndjson")
    assert back.json() == {"lines": 1, "recorded": 1}
    assert run(api, "2026-03-05")["conditions"]["unknown"] == 1
    for number in (1, 2, 3):
        assert api.get(f"{RUNS}/{number}/replay", "auditor").json()["agrees"]


FAULTS = {
    "line 3: ratio": "asset,date,action,ratio\nEQ,2026-03-02,split,2:1\nEQ,2026-03-03,split,0:1\n",
    "line 2: to": "asset,date,action\nEQ,2026-03-02,renamed\n",
    "line 2: date": "asset,date,action,ratio\nEQ,2099-03-02,split,2:1\n",
    "line 2: asset": "asset,date,action,ratio\n EQ,2026-03-02,split,2:1\n",
    "line 2: action": "asset,date,action,ratio\nEQ,2026-03-02,merged,2:1\n",
    "line 2: price": "asset,date,action,price,currency\nEQ,2026-03-02,delisted,-1,USD\n",
    "line 2: currency": "asset,date,action,price\nEQ,2026-03-02,delisted,1\n",
    "line 2": "asset,date,action,ratio\nEQ,2026-03-02,split\n",
    "line 1": "asset,date,asset\n",
    "body": "asset,date,action,ratio\nEQ,2026-03-02,split,2:1",
}


@pytest.mark.parametrize(("field", "body"), FAULTS.items())
def test_a_fault_is_named_by_line_and_field_and_nothing_is_recorded(api: Api, field: str, body: str) -> None:
    """A ratio of 0, members that are missing, a day far ahead, a negative price, a file that is cut off."""
    with api.records_nothing():
        assert fields(problem(send(api, body), 422, "invalid")) == [field]


def test_a_line_that_is_cut_off_a_double_and_another_role_are_refused(api: Api) -> None:
    """A line of NDJSON that ends in the middle is no JSON; which of two equal actions counts would be unclear."""
    kind = "application/x-ndjson"
    with api.records_nothing():
        assert fields(problem(send(api, ndjson(SPLIT) + ndjson(SPLIT)[:20], kind), 422, "invalid")) == ["line 2"]
        twice = ndjson(SPLIT, {**SPLIT, "ratio": "3:1"})
        assert fields(problem(send(api, twice, kind), 422, "invalid")) == ["line 2: asset"]
        problem(send(api, ndjson(SPLIT), kind, "advisor"), 403, "wrong-role")
        problem(send(api, ndjson(SPLIT), "application/json"), 415, "not-json")
        problem(send(api, ndjson(*[SPLIT] * 1001), kind), 413, "too-large")


RENAMED = {"date": "2026-04-02", "action": "renamed"}
CROSSED = {
    "of one day": [{"asset": "A1", "to": "B1"}, {"asset": "B1", "to": "A1"}],
    "one after the other on one day": [{"asset": "A1", "to": "B1"}, {"asset": "B1", "to": "C1"}],
    "an identifier that meant another asset": [{"asset": "A1", "to": "B1"}, {"asset": "C1", "to": "A1", "date": LATER}],
}


@pytest.mark.parametrize("lines", CROSSED.values(), ids=CROSSED)
def test_an_identifier_that_would_mean_two_assets_is_refused(api: Api, lines: list[dict[str, str]]) -> None:
    """Within a batch, and against what is on record; holdings and prices of one would be read as the other's."""
    kind, bodies = "application/x-ndjson", [{**RENAMED, **line} for line in lines]
    with api.records_nothing():
        found = fields(problem(send(api, ndjson(*bodies), kind), 422, "invalid"))
        assert set(found) <= {"line 1: to", "line 2: to"}
        assert found
    for first, second in (bodies, bodies[::-1]):
        assert send(api, ndjson(first), kind).json()["recorded"] == 1
        with api.records_nothing():
            assert fields(problem(send(api, ndjson(second), kind), 422, "invalid")) == ["line 1: to"]
        assert send(api, ndjson({**first, "withdrawn": True}), kind).json()["recorded"] == 1


def test_an_asset_may_get_its_former_identifier_back(api: Api) -> None:
    """Renamed and back, and renamed again: each identifier means the one asset, whatever is recorded first."""
    days = ("2026-05-01", "2026-05-02", "2026-05-03")
    there, back, again = [{**RENAMED, "date": day} for day in days]
    lines = [{**again, "asset": "F1", "to": "H1"}, {**there, "asset": "F1", "to": "G1"}]
    assert (
        send(api, ndjson(*lines, {**back, "asset": "G1", "to": "F1"}), "application/x-ndjson").json()["recorded"] == 3
    )
