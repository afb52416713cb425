"""Flows and valuations over HTTP: recorded once, refused whole by line and field, out of scope as if unknown."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from tests.api.http.test_monitoring import POLICY, PORTFOLIO, put, run
from tests.api.served import Api, fields, problem

NDJSON, CSV = "application/x-ndjson", "text/csv"
FLOW = {"reference": "7", "date": "2026-03-02", "kind": "cash-in", "amount": "20.50", "currency": "USD"}
VALUED = {
    "portfolio": "p1",
    "as_of": "2026-03-02",
    "source": "bank",
    "currency": "USD",
    "values": {"EQ": "6", "BD": "4"},
}
FLOW_HEADER = "portfolio,reference,date,kind,amount,currency\n"
VALUED_HEADER = "portfolio,as_of,source,currency,asset,value\n"


def send(api: Api, path: str, body: str, kind: str = CSV, role: str = "advisor") -> httpx.Response:
    """Send a batch."""
    return api.call("POST", path, role, content=body, headers={"Content-Type": kind})


def ndjson(*lines: dict[str, Any]) -> str:
    """Return lines."""
    return "".join(orjson.dumps(line).decode() + "\n" for line in lines)


@pytest.fixture(scope="module", autouse=True)
def portfolios(api: Api) -> None:
    """The portfolios p1 and p2."""
    put(api, "/policies/monitoring/drift", "admin", POLICY)
    for name in ("p1", "p2"):
        api.call("POST", "/clients", "advisor", json={"client_id": f"client of {name}"})
        assert put(api, f"/portfolios/{name}", "advisor", {**PORTFOLIO, "client_id": f"client of {name}"}).is_success


def test_a_flow_is_recorded_once_and_corrected_by_its_reference(api: Api) -> None:
    """Alone or in a batch, in other words or with the same key: one record; its personal members are sealed."""
    path = "/portfolios/p1/flows"
    first = api.call("POST", path, "advisor", json=FLOW, headers={"Idempotency-Key": "k"})
    assert (first.status_code, first.json()["changed"]) == (201, True)
    with api.records_nothing():
        again = api.call("POST", path, "advisor", json={**FLOW, "amount": "020.5"})
        assert (again.status_code, again.json()["event"], again.json()["changed"]) == (
            200,
            first.json()["event"],
            False,
        )
        assert send(api, "/flows", ndjson({"portfolio": "p1", **FLOW}), NDJSON).json() == {"lines": 1, "recorded": 0}
        refused = api.call("POST", path, "advisor", json={**FLOW, "date": "2026-03-01"})
        assert fields(problem(refused, 422, "invalid")) == ["date"]
        problem(api.call("POST", "/portfolios/p9/flows", "advisor", json=FLOW), 404, "portfolio-unknown")
        problem(api.call("POST", path, "admin", json=FLOW), 403, "wrong-role")
    assert send(api, "/flows", FLOW_HEADER + "p1,7,2026-03-02,cash-in,1,USD\n").json() == {"lines": 1, "recorded": 1}
    event = api.get(f"/events/{first.json()['event']}", "compliance").json()
    assert sorted(event["sealed"]) == ["amount", "client_id", "reference"]
    assert "20.5" not in orjson.dumps(event["data"]).decode()


def test_valuations_come_as_lines_or_as_rows_of_assets(api: Api) -> None:
    """The same in both forms is recorded once, and a run judges by it without any price."""
    rows = "p1,2026-03-02,bank,USD,EQ,6\np1,2026-03-02,bank,USD,BD,4\np2,2026-03-02,bank,USD,EQ,7\n"
    assert send(api, "/valuations", VALUED_HEADER + rows).json() == {"lines": 2, "recorded": 2}
    with api.records_nothing():
        assert send(api, "/valuations", ndjson(VALUED), NDJSON).json() == {"lines": 1, "recorded": 0}
    assert run(api, "2026-03-02")["conditions"] == {"ok": 1, "watch": 0, "breached": 1, "unknown": 0}
    assert api.get("/monitoring/runs/1/replay", "auditor").json()["agrees"]
    [found] = api.items("/portfolios/p1/drift")
    assert [row["weight"] for row in found["assets"]] == ["0.400000000000", "0.600000000000"]


FLOWS = {
    "line 2: amount": "p1,8,2026-03-02,cash-in,-1,USD\n",
    "line 2: kind": "p1,8,2026-03-02,gift,1,USD\n",
    "line 2: currency": "p1,8,2026-03-02,cash-in,1,usd\n",
    "line 2: date": "p1,8,2099-03-02,cash-in,1,USD\n",
    "line 2: portfolio": "p9,8,2026-03-02,cash-in,1,USD\n",
    "line 3: reference": "p1,8,2026-03-02,cash-in,1,USD\np1,8,2026-03-02,cash-in,2,USD\n",
    "line 2": "p1,8\n",
    "body": "p1,8,2026-03-02,cash-in,1,USD",
}
VALUATIONS = {
    "line 2: values.EQ": "p1,2026-03-03,bank,USD,EQ,NaN\n",
    "line 2: as_of": "p1,2026-13-03,bank,USD,EQ,1\n",
    "line 3: asset": "p1,2026-03-03,bank,USD,EQ,1\np1,2026-03-03,bank,USD,EQ,2\n",
    "line 3: portfolio": "p1,2026-03-03,bank,USD,EQ,1\np1,2026-03-04,bank,USD,EQ,2\n",
    "line 2: currency": "p1,2026-03-03,bank,,EQ,1\n",
    "body": "p1,2026-03-03,bank,USD,EQ,1\np1,2026-03-03,bank,USD,BD,1",
}
FAULTS = [
    *(("/flows", field, FLOW_HEADER + rows) for field, rows in FLOWS.items()),
    *(("/valuations", field, VALUED_HEADER + rows) for field, rows in VALUATIONS.items()),
]


@pytest.mark.parametrize(("path", "field", "body"), FAULTS)
def test_a_fault_is_named_by_line_and_field_and_nothing_is_recorded(api: Api, path: str, field: str, body: str) -> None:
    """Negative and non-finite amounts, unknown names, the future, what stands twice, a file that ends in the middle."""
    with api.records_nothing():
        assert fields(problem(send(api, path, body), 422, "invalid")) == [field]


@pytest.mark.parametrize(("path", "line"), [("/flows", {"portfolio": "p1", **FLOW}), ("/valuations", VALUED)])
def test_lines_that_are_cut_off_and_other_callers_are_refused(api: Api, path: str, line: dict[str, Any]) -> None:
    """A line of NDJSON that ends in the middle; another role; another type; too many lines."""
    with api.records_nothing():
        cut = ndjson({**line, "portfolio": "p2"}) + ndjson(line)[:30]
        assert fields(problem(send(api, path, cut, NDJSON), 422, "invalid")) == ["line 2"]
        problem(send(api, path, ndjson(line), NDJSON, "admin"), 403, "wrong-role")
        problem(send(api, path, ndjson(line), "application/json"), 415, "not-json")
        problem(send(api, path, ndjson(*[line] * 1001), NDJSON), 413, "too-large")
