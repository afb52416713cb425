"""Holdings of many portfolios in one request: all of them are recorded, or none, and each wrong line is named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest

from api.holdings_lines import MOST_LINE_BYTES
from ledger.service.monitoring.bulk_holdings import MOST_LINES
from tests.api.http.test_monitoring import POLICY, PORTFOLIO, put
from tests.api.served import Api, fields, problem

NDJSON = {"Content-Type": "application/x-ndjson"}


def send(api: Api, *lines: bytes | dict[str, Any], role: str = "advisor", **headers: str) -> httpx.Response:
    """Send lines as a batch."""
    body = b"\n".join(line if isinstance(line, bytes) else orjson.dumps(line) for line in lines)
    return api.call("POST", "/holdings", role, content=body, headers={**NDJSON, **headers})


def line(portfolio: str, as_of: str = "2026-03-01", **positions: str) -> dict[str, Any]:
    """Return the holdings of a portfolio."""
    return {"portfolio": portfolio, "as_of": as_of, "positions": positions or {"EQ": "600", "BD": "400"}}


@pytest.fixture(scope="module", autouse=True)
def portfolios(api: Api) -> None:
    """The portfolios p1, p2 and p3."""
    put(api, "/policies/monitoring/drift", "admin", POLICY)
    for name in ("p1", "p2", "p3"):
        api.call("POST", "/clients", "advisor", json={"client_id": f"client of {name}"})
        made = put(api, f"/portfolios/{name}", "advisor", {**PORTFOLIO, "client_id": f"client of {name}"})
        assert made.status_code == 201, made.text


def test_a_batch_is_recorded_once(api: Api) -> None:
    """Sent again it records nothing; a line that differs is recorded alone, as if it had been sent alone."""
    batch: list[bytes | dict[str, Any]] = [line("p1"), b"", line("p2", EQ="1")]
    before = api.commands()
    response = send(api, *batch)
    assert (response.status_code, response.json()) == (200, {"lines": 2, "recorded": 2})
    assert (int(response.headers["ledger-position"]), response.headers["ledger-hash"]) == api.head()
    assert api.commands() == before + 2
    with api.records_nothing():
        again = send(api, *batch)
        assert (again.json(), "ledger-position" in again.headers) == ({"lines": 2, "recorded": 0}, False)
        alone = put(
            api, "/portfolios/p1/holdings", "advisor", {k: v for k, v in line("p1").items() if k != "portfolio"}
        )
        assert (alone.status_code, alone.json()["changed"]) == (200, False)
    batch[2] = line("p2", EQ="2")
    assert send(api, *batch).json() == {"lines": 2, "recorded": 1}


def test_one_bad_line_and_nothing_is_recorded(api: Api) -> None:
    """Each wrong line is named with its field, by its form or by what the ledger has; values are not repeated."""
    assert send(api, line("p3", "2026-03-05")).json()["recorded"] == 1
    future = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}"
    with api.records_nothing():
        formed = send(
            api,
            line("p1", EQ="5"),
            b"{",
            b"[]",
            b'{"portfolio": "p1", "portfolio": "p2"}',
            {**line("p1"), "portfolio": "P 1"},
            {"portfolio": "p1"},
            line("p1", "2026-02-30"),
            line("p1", EQ="NaN"),
            {**line("p1"), "secret": "s3cret"},
            b"x" * (MOST_LINE_BYTES + 1),
        )
        found = fields(problem(formed, 422, "invalid"))
        assert found == [
            "line 2",
            "line 3",
            "line 4.portfolio",
            "line 5: portfolio",
            "line 6: as_of",
            "line 6: positions",
            "line 7: as_of",
            "line 8: positions.EQ",
            "line 9: secret",
            "line 10",
        ]
        assert "s3cret" not in formed.text
        known = send(api, line("p1"), line("nobody"), line("p2", future), line("p3", "2026-03-04"), line("p1", EQ="5"))
        assert sorted(fields(problem(known, 422, "invalid"))) == [
            "line 2: portfolio",
            "line 3: as_of",
            "line 4: as_of",
            "line 5: portfolio",
        ]


def test_what_is_too_large_or_not_ndjson_is_refused(api: Api) -> None:
    """Too many lines, another type, an empty batch, and another role."""
    with api.records_nothing():
        problem(send(api, *[line("p1")] * (MOST_LINES + 2)), 413, "too-large")
        problem(send(api, line("p1"), **{"Content-Type": "application/json"}), 415, "not-json")
        problem(send(api, line("p1"), role="auditor"), 403, "wrong-role")
        assert send(api).json() == {"lines": 0, "recorded": 0}


def test_a_large_batch_is_recorded_once(api: Api) -> None:
    """Twenty portfolios with a thousand positions each: sent again, it records nothing."""
    for number in range(4, 24):
        api.call("POST", "/clients", "advisor", json={"client_id": f"client {number}"})
        put(api, f"/portfolios/many-{number}", "advisor", {**PORTFOLIO, "client_id": f"client {number}"})
    positions = {f"A{number}": "1.5" for number in range(1000)}
    batch = [line(f"many-{number}", **positions) for number in range(4, 24)]
    assert send(api, *batch).json() == {"lines": 20, "recorded": 20}
    assert send(api, *batch).json() == {"lines": 20, "recorded": 0}
