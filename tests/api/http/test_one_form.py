"""One thing has one form: names, shares and times; what would give it a second one is refused."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest

from tests.api.acting import CALL
from tests.api.http.test_monitoring import POLICY, PORTFOLIO
from tests.api.program import cli
from tests.api.served import ASK, ASKS, Api, fields, problem

NOT_NAMES = [
    " c",
    "c ",
    "c\n",
    "c\u00a0",
    "a\tb",
    "a\x1b[2Jb",
    "a\u202eb",
    "a\u200bb",
    "\ufeffc",
    "a\u2028b",
    "\u2066a",
]
COMPOSED, DECOMPOSED = "Andr\u00e9", "Andre\u0301"


@pytest.mark.parametrize("name", NOT_NAMES, ids=ascii)
def test_names_are_what_people_see(api: Api, name: str) -> None:
    """Control, format and bidirectional characters, line breaks and outer white space are refused in every name."""
    request_id = api.asked()
    with api.records_nothing():
        assert fields(problem(api.ask(client_id=name), 422, "invalid")) == ["client_id"]
        assert fields(problem(api.answer(request_id, model_name=name), 422, "invalid")) == ["model_name"]
        path, body = f"/portfolio/requests/{request_id}/model-calls", CALL | {"prompt_name": name}
        assert fields(problem(api.call("POST", path, "agent", json=body), 422, "invalid")) == ["prompt_name"]


def test_a_name_has_one_form(api: Api, tmp_path: Path) -> None:
    """A client whose name is written with combining characters is the same client, in commands, filters and bundles."""
    assert unicodedata.normalize("NFC", DECOMPOSED) == COMPOSED
    ids = {api.asked(client_id=name) for name in (COMPOSED, DECOMPOSED)}
    for name in (COMPOSED, DECOMPOSED):
        rows = api.items("/portfolio/requests", client_id=name)
        assert {(row["id"], row["client_id"]) for row in rows} == {(number, COMPOSED) for number in ids}
        options = ("--client", name, "--database-url", api.url, "-o", tmp_path / f"{len(name)}.zip")
        assert "no event was recorded" not in cli("export", *options).err


SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"client_id": COMPOSED}, {"client_id": DECOMPOSED}),
    ({"constraints": {"max_equity": "0.6"}}, {"constraints": {"max_equity": "0.60"}}),
    ({"constraints": {"max_equity": "0.6"}}, {"constraints": {"max_equity": 0.6}}),
    ({"constraints": {"min_cash": "1"}}, {"constraints": {"min_cash": "1.0000"}}),
    ({"amount_usd": "100"}, {"amount_usd": 1e2}),
]


@pytest.mark.parametrize(("first", "again"), SAME, ids=range(len(SAME)))
def test_the_same_command_in_other_words_is_a_retry(api: Api, first: dict[str, Any], again: dict[str, Any]) -> None:
    """The second one gets the answer of the first."""
    key = f"same-{SAME.index((first, again))}"
    assert api.ask(key=key, **first).json() == api.ask(key=key, **again).json()


SAME_PORTFOLIOS = [({"EQ": "0.6"}, {"EQ": "0.600"}), ({"EQ": "0"}, {"EQ": "0.0"}), ({"EQ": "1"}, {"EQ": "1.000"})]
SAME_HOLDINGS = [({"EQ": "600"}, {"EQ": "0600.0"}), ({"EQ": "0.5", "BD": "0"}, {"EQ": "00.50", "BD": "0.00"})]


@pytest.fixture
def watched(api: Api) -> Api:
    """The module's application, with the portfolio `anna` of the client Anna."""
    if api.get("/portfolios/anna").status_code == 404:
        assert api.call("PUT", "/policies/monitoring/drift", "admin", json=POLICY).status_code == 201
        assert api.call("POST", "/clients", "advisor", json={"client_id": "Anna"}).status_code == 201
        assert api.call("PUT", "/portfolios/anna", "advisor", json=PORTFOLIO | {"client_id": "Anna"}).status_code == 201
    return api


@pytest.mark.parametrize(("first", "again"), SAME_PORTFOLIOS, ids=str)
def test_a_target_has_one_form(watched: Api, first: dict[str, str], again: dict[str, str]) -> None:
    """The same targets in other words record nothing, and are a retry under the same key."""
    key = {"Idempotency-Key": f"targets-{first['EQ']}"}
    body = PORTFOLIO | {"client_id": "Anna", "base": "CHF"}
    sent = watched.call("PUT", "/portfolios/anna", "advisor", json=body | {"targets": first}, headers=key)
    assert sent.status_code == 201, sent.text
    with watched.records_nothing():
        for headers in (key, {}):
            same = watched.call("PUT", "/portfolios/anna", "advisor", json=body | {"targets": again}, headers=headers)
            assert (same.status_code // 100, same.json()["event"]) == (2, sent.json()["event"])


@pytest.mark.parametrize(("first", "again"), SAME_HOLDINGS, ids=str)
def test_a_quantity_has_one_form(watched: Api, first: dict[str, str], again: dict[str, str]) -> None:
    """The same holdings in other words record nothing."""
    path, day = "/portfolios/anna/holdings", {"as_of": "2026-03-01"}
    sent = watched.call("PUT", path, "advisor", json=day | {"positions": first})
    assert sent.status_code == 201
    with watched.records_nothing():
        same = watched.call("PUT", path, "advisor", json=day | {"positions": again})
        assert (same.status_code, same.json()["changed"]) == (200, False)


@pytest.mark.parametrize("quantity", ["-0", "-0.00", "-000"])
def test_a_quantity_is_not_minus_zero(watched: Api, quantity: str) -> None:
    """A short position has a number in it."""
    body = {"as_of": "2026-03-01", "positions": {"EQ": quantity}}
    with watched.records_nothing():
        response = watched.call("PUT", "/portfolios/anna/holdings", "advisor", json=body)
        assert fields(problem(response, 422, "invalid")) == ["positions.EQ"]


def test_two_keys_are_refused(api: Api) -> None:
    """It would not be clear which command this is."""
    keys = [("Idempotency-Key", "a"), ("Idempotency-Key", "b"), ("Authorization", f"Bearer {api.tokens['advisor']}")]
    with api.records_nothing():
        response = api.client.post(api.base + ASKS, json=ASK, headers=keys)
        assert fields(problem(response, 422, "invalid")) == ["idempotency-key"]


def test_classes_are_named_once(api: Api) -> None:
    """A class that is excluded twice is refused."""
    with api.records_nothing():
        response = api.ask(constraints={"exclude_asset_classes": ["cash", "cash"]})
        assert fields(problem(response, 422, "invalid")) == ["constraints.exclude_asset_classes"]


@pytest.mark.parametrize("digits", ["1234567", "123456789", "1", "1234567890123456789"])
def test_times_have_any_number_of_digits(api: Api, digits: str) -> None:
    """Times as .NET, Go and Java write them are read, and cut to microseconds."""
    request_id = api.asked()
    for path in ("/portfolio/requests", f"/portfolio/requests/{request_id}"):
        assert api.get(path, as_of=f"2099-01-01T00:00:00.{digits}Z").status_code == 200
    assert api.get("/portfolio/requests", **{"from": f"2099-01-01T00:00:00.{digits}+01:00"}).json()["items"] == []
