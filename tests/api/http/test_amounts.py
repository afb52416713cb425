"""Amounts: exact from the request to the read model and back, however they are written; refused, never rounded."""

from __future__ import annotations

from decimal import Decimal

import httpx
import pytest

from tests.api.served import ASK, Api, fields, problem
from tests.support import connect

EXACT = {
    "250000.5": "250000.50",
    '"250000.50"': "250000.50",
    "250000": "250000.00",
    "1e5": "100000.00",
    '"1e5"': "100000.00",
    "0.01": "0.01",
    "0.1": "0.10",
    "0.29": "0.29",
    "1.10": "1.10",
    "1.000": "1.00",
    "123456789012.34": "123456789012.34",
    '"123456789012.34"': "123456789012.34",
    "999999999999.99": "999999999999.99",
    '"007"': "7.00",
}
REFUSED = [
    "0",
    '"0.00"',
    "0.001",
    "-0.0",
    "-1",
    '"-1"',
    "1000000000000",
    "1e13",
    "123456789012345",
    "123456789012.345",
    "1.001",
    '"1.001"',
    '"NaN"',
    '"Infinity"',
    "true",
    "null",
    "[]",
    "{}",
    '""',
    '" 5"',
    '"+5"',
    '"1_000"',
    '"1,000"',
    '"5."',
    '"٣"',
    '"1e99999"',
    "9" * 400,
    "9007199254740993",
    '"$5"',
]


def post(api: Api, amount: str) -> httpx.Response:
    """The response to a request whose amount is this piece of JSON."""
    body = f'{{"client_id": "c", "risk_profile": "balanced", "amount_usd": {amount}}}'
    headers = {"Content-Type": "application/json"}
    return api.call("POST", "/portfolio/recommendations", content=body.encode(), headers=headers)


@pytest.mark.parametrize("sent", EXACT)
def test_amounts_come_back_exact(api: Api, sent: str) -> None:
    """An amount within the limits reads as it was meant in the event, in the table and in the response."""
    response = post(api, sent)
    assert response.status_code == 202, response.text
    request_id = response.json()["request_id"]
    assert api.get(f"/portfolio/requests/{request_id}").json()["amount_usd"] == EXACT[sent]
    with connect(api.url) as conn:
        event = conn.execute(
            "SELECT body::json->'data'->>'amount_usd' FROM events WHERE stream = %s", [f"request-{request_id}"]
        ).fetchone()
        row = conn.execute("SELECT amount_usd FROM portfolio_requests WHERE id = %s", [request_id]).fetchone()
    assert event == (EXACT[sent],)
    assert row == (Decimal(EXACT[sent]),)


@pytest.mark.parametrize("sent", REFUSED, ids=lambda sent: sent[:20])
def test_other_amounts_are_refused(api: Api, sent: str) -> None:
    """Zero, less, a third decimal, too many digits and what is no number: the field is named, nothing is recorded."""
    with api.records_nothing():
        response = post(api, sent)
    slug = "malformed-json" if sent == "9" * 400 else "invalid"
    found = problem(response, 400 if sent == "9" * 400 else 422, slug)
    assert fields(found) == ["amount_usd"]


def test_an_amount_is_needed(api: Api) -> None:
    """Without an amount, the field that is missing is named."""
    body = {name: value for name, value in ASK.items() if name != "amount_usd"}
    with api.records_nothing():
        found = problem(api.call("POST", "/portfolio/recommendations", json=body), 422, "invalid")
    assert fields(found) == ["amount_usd"]
