"""Monitoring over HTTP: from a policy to an acknowledged alert; files of prices; scopes; as of."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.served import Api, fields, problem

POLICY = {"name": "drift", "version": "1", "band": {"absolute": "0.05"}, "unlisted": "0.02"}
PORTFOLIO = {"base": "USD", "targets": {"EQ": "0.6"}, "rest": "BD", "policy": "drift", "source": "house"}
RUNS = "/monitoring/runs"


def put(api: Api, path: str, role: str, body: dict[str, Any]) -> httpx.Response:
    """Send PUT."""
    return api.call("PUT", path, role, json=body)


def prices(api: Api, day: str, text: str, kind: str = "text/csv") -> httpx.Response:
    """Send a file of prices."""
    return api.call("POST", f"/prices/{day}?source=ny", "admin", content=text, headers={"Content-Type": kind})


def run(api: Api, day: str) -> dict[str, Any]:
    """Judge as of a day's end."""
    response = api.call("POST", RUNS, "admin", json={"as_of": f"{day}T22:00:00Z"})
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


@pytest.fixture
def watched(api: Api) -> Api:
    """The module's application, with a policy and the portfolio `anna`; made once."""
    if api.get("/portfolios/anna").status_code == 404:
        assert put(api, "/policies/monitoring/drift", "compliance", POLICY).status_code == 201
        assert api.call("POST", "/clients", "advisor", json={"client_id": "Anna"}).status_code == 201
        assert put(api, "/portfolios/anna", "advisor", {**PORTFOLIO, "client_id": "Anna"}).status_code == 201
        held = {"as_of": "2026-03-01", "positions": {"EQ": "1", "BD": "1"}}
        assert put(api, "/portfolios/anna/holdings", "advisor", held).status_code == 201
    return api


def test_a_breach_becomes_an_alert_a_decision_and_an_acknowledgement(watched: Api) -> None:
    """Each step shows in the read models, also as of before; what is sent again records nothing."""
    api = watched
    again = put(api, "/portfolios/anna", "advisor", {**PORTFOLIO, "client_id": "Anna"})
    assert (again.status_code, again.json()["changed"]) == (200, False)
    assert put(api, "/policies/monitoring/drift", "admin", POLICY).status_code == 200
    assert prices(api, "2026-03-02", "asset,price,currency\nEQ,60,USD\nBD,40,USD\n").status_code == 201
    first = run(api, "2026-03-02")
    assert (first["conditions"]["ok"], first["raised"], first["historical"]) == (1, 0, True)
    lines = '{"asset":"EQ","price":"66","currency":"USD"}\n{"asset":"BD","price":"34","currency":"USD"}\n'
    assert prices(api, "2026-03-03", lines, "application/x-ndjson").status_code == 201
    assert run(api, "2026-03-03")["raised"] == 1
    [alert] = api.items("/alerts", portfolio="anna")
    assert (alert["rule"], alert["state"], alert["receivers"]) == ("drift", "open", ["advisor"])
    taken = api.call("POST", f"/alerts/{alert['id']}/acknowledgements", "advisor", json={"rationale": "mine"})
    assert taken.status_code == 201
    before = api.get("/alerts", as_of=int(taken.headers["ledger-position"]) - 1).json()["items"]
    assert [row["state"] for row in before] == ["open"]
    act = f"/alerts/{alert['id']}/acknowledgements"
    silence = {"until": "2099-01-01T00:00:00Z", "reason": "holiday"}
    with api.records_nothing():
        problem(api.call("POST", act, "advisor", json={}), 409, "alert-acknowledged")
        problem(api.call("POST", "/alerts/1/silences", "advisor", json=silence), 404, "alert-unknown")
    row = api.get(f"/alerts/{alert['id']}").json()
    assert (row["acknowledged_by"], row["acknowledge_rationale"]) == ("advisor", "mine")
    [decided] = api.items("/notifications", alert_id=alert["id"])
    assert (decided["about"], decided["receivers"], decided["historical"]) == ("opened", ["advisor"], True)
    newest, oldest = api.items("/portfolios/anna/drift")
    assert [asset["drift"] for asset in newest["assets"]] == ["-0.060000000000", "0.060000000000"]
    assert (oldest["condition"], newest["condition"]) == ("ok", "breached")
    assert [found["run"] for found in api.items("/portfolios/anna/drift", to="2026-03-02")] == [1]
    judged_upto = api.get(f"{RUNS}/2").json()["judged_upto"]
    assert [found["run"] for found in api.items("/portfolios/anna/drift", as_of=judged_upto)] == [1]
    assert all(found["agrees"] for found in (newest, oldest))
    runs = api.items(RUNS, state="completed")
    for path in ("/portfolios", "/portfolios/anna/drift", "/alerts", "/notifications", RUNS):
        table = api.call("GET", path, "advisor", headers={"Accept": "text/csv"})
        assert (table.status_code, len(table.text.splitlines())) == (200, 1 + len(api.items(path)))
    assert [found["breached"] for found in runs] == [1, 0]
    assert api.get(f"{RUNS}/2").json() == runs[0]
    assert api.get("/prices/2026-03-03").json()["prices"][0]["price"] == "34"
    assert api.get("/policies/monitoring/drift").json()["policy"] == POLICY
    [portfolio] = api.items("/portfolios", client_id="Anna")
    assert portfolio["targets"] == {"EQ": "0.6"}


FILES = {
    "body": ["", "asset,price,currency\n", "asset,price,currency\nEQ,1,USD"],
    "line 2: price": ["asset,price,currency\nEQ,-1,USD\n", "asset,price,currency\nEQ,NaN,USD\n"],
    "line 3: asset": ["asset,price,currency\nEQ,1,USD\nEQ,2,USD\n"],
    "line 2": ["asset,price,currency\nEQ,1\n"],
    "line 2: colour": ["asset,price,currency,colour\nEQ,1,USD,red\n"],
    "line 3: from": ["from,to,rate\nUSD,CHF,0.8\nCHF,USD,1.25\n"],
}


def test_a_file_with_a_fault_is_refused_by_line_and_field(watched: Api) -> None:
    """Nothing of it is recorded; nor of a day in the future, other media types, weights that do not sum to 1."""
    api = watched
    with api.records_nothing():
        for field, texts in FILES.items():
            for text in texts:
                assert fields(problem(prices(api, "2026-03-02", text), 422, "invalid")) == [field], text
        line = '{"asset": "EQ", "price": "1", "currency": "USD"}\n{"asset"\n'
        assert fields(problem(prices(api, "2026-03-02", line, "application/x-ndjson"), 422, "invalid")) == ["line 2"]
        good = "asset,price,currency\nEQ,1,USD\n"
        assert fields(problem(prices(api, "2099-01-01", good), 422, "invalid")) == ["date"]
        problem(prices(api, "2026-03-02", good, "application/json"), 415, "not-json")
        off = {**PORTFOLIO, "client_id": "Anna", "rest": None}
        assert fields(problem(put(api, "/portfolios/anna", "advisor", off), 422, "invalid")) == ["targets"]
        quiet = {"start": "07:00", "end": "07:00", "zone": "Europe/Zurich"}
        refused = put(api, "/policies/monitoring/drift", "admin", {**POLICY, "version": "2", "quiet_hours": quiet})
        assert fields(problem(refused, 422, "invalid")) == ["quiet_hours"]
        problem(put(api, "/portfolios/anna", "admin", off), 403, "wrong-role")
