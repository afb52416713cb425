"""The policy file: accepted forms, refusals and their places."""

import hashlib
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from api.agents.builtin.agent import BuiltinAgent
from api.agents.house_policy import RISK_PROFILES, InvalidPolicyError, load_policy
from api.agents.protocol import AgentRefused, AgentRequest
from tests.api.agents.asking import ask
from tests.paths import ROOT

FILE = ROOT / "api" / "agents" / "house_policy.json"


def edited(edit: Callable[[Any], object]) -> bytes:
    """Return the packaged policy after one edit."""
    document = json.loads(FILE.read_bytes())
    edit(document)
    return json.dumps(document).encode()


def test_the_packaged_policy_is_identified_by_its_bytes() -> None:
    """The digest is that of the file, so a reader can find the exact policy."""
    policy = load_policy()
    assert policy.sha256 == hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert load_policy(FILE.read_bytes() + b"\n").sha256 != policy.sha256


def test_the_packaged_models_are_ordered_by_risk() -> None:
    """A higher risk profile or a longer horizon never holds less equity, and every model holds some cash."""
    policy = load_policy()
    names = [each.name for each in policy.horizons]
    table = [[policy.equity_share(policy.models[profile][name]) for name in names] for profile in RISK_PROFILES]
    assert all(row == sorted(row) for row in table)
    assert all(list(column) == sorted(column) for column in zip(*table, strict=True))
    assert all(model["cash"] for row in policy.models.values() for model in row.values())


INVALID: dict[str, tuple[Callable[[Any], object], str]] = {
    "version missing": (lambda p: p.pop("version"), r"policy\.version: expected a non-empty string"),
    "version blank": (lambda p: p.update(version=" "), r"policy\.version: expected a non-empty string"),
    "version a number": (lambda p: p.update(version=1), r"policy\.version: expected a non-empty string"),
    "no classes": (lambda p: p.update(asset_classes=[]), "asset_classes: expected a non-empty array"),
    "class no object": (lambda p: p["asset_classes"].append("gold"), r"asset_classes\[8\]: expected an object"),
    "class twice": (lambda p: p["asset_classes"].append(p["asset_classes"][0]), "asset_classes: a name appears twice"),
    "class without label": (lambda p: p["asset_classes"][1].pop("label"), r"asset_classes\[1\]\.label: expected"),
    "class without flag": (lambda p: p["asset_classes"][2].pop("equity"), r"asset_classes\[2\]\.equity: expected true"),
    "no cash": (lambda p: p["asset_classes"].pop(), "asset_classes: needs 'cash'"),
    "cash as equity": (lambda p: p["asset_classes"][-1].update(equity=True), "asset_classes: needs 'cash'"),
    "class not in models": (
        lambda p: p["asset_classes"].append({"name": "gold", "label": "Gold", "equity": False}),
        r"models\.conservative\.short: missing gold",
    ),
    "horizon twice": (lambda p: p["horizons"][1].update(name="short"), "horizons: a name appears twice"),
    "horizon no integer": (lambda p: p["horizons"][0].update(max_years="3"), r"horizons\[0\]\.max_years: expected"),
    "horizon a boolean": (lambda p: p["horizons"][0].update(max_years=True), r"horizons\[0\]\.max_years: expected"),
    "horizons unordered": (lambda p: p["horizons"][0].update(max_years=10), "horizons: max_years must rise"),
    "horizon below one": (lambda p: p["horizons"][0].update(max_years=0), "horizons: max_years must rise"),
    "last horizon ends": (lambda p: p["horizons"][2].update(max_years=40), "horizons: the last, and only it"),
    "two endless horizons": (lambda p: p["horizons"][1].update(max_years=None), "horizons: the last, and only it"),
    "unknown default": (lambda p: p.update(default_horizon="eternal"), "default_horizon: unknown horizon 'eternal'"),
    "models missing": (lambda p: p.pop("models"), "models: expected an object"),
    "profile missing": (lambda p: p["models"].pop("balanced"), "models: missing balanced"),
    "profile unknown": (lambda p: p["models"].update(reckless={}), "models: unknown reckless"),
    "horizon missing": (lambda p: p["models"]["balanced"].pop("long"), r"models\.balanced: missing long"),
    "unknown class": (
        lambda p: p["models"]["balanced"]["long"].update(gold="0.0000"),
        r"models\.balanced\.long: unknown gold",
    ),
    "class missing": (lambda p: p["models"]["balanced"]["long"].pop("cash"), r"models\.balanced\.long: missing cash"),
    "sum above one": (
        lambda p: p["models"]["aggressive"]["short"].update(cash="0.0601"),
        r"models\.aggressive\.short: weights sum to 1\.0001, not 1",
    ),
    "weight a float": (
        lambda p: p["models"]["balanced"]["long"].update(cash=0.03),
        r"models\.balanced\.long\.cash: expected a non-empty string",
    ),
    "weight negative": (lambda p: p["models"]["balanced"]["long"].update(cash="-0.0300"), r"'-0\.0300' is not like"),
    "weight too fine": (lambda p: p["models"]["balanced"]["long"].update(cash="0.03000"), r"'0\.03000' is not like"),
}


@pytest.mark.parametrize("case", INVALID)
def test_refuses_an_invalid_policy(case: str) -> None:
    """Each mistake is refused, and the message has its place."""
    edit, message = INVALID[case]
    with pytest.raises(InvalidPolicyError, match=message):
        load_policy(edited(edit))


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000])
def test_refuses_what_is_not_json(raw: bytes) -> None:
    """Broken bytes, broken JSON and extreme nesting are InvalidPolicyError."""
    with pytest.raises(InvalidPolicyError, match="policy: not a JSON document"):
        load_policy(raw)


def test_refuses_what_is_not_an_object_or_repeats_a_member() -> None:
    """A repeated member is refused, not overridden."""
    with pytest.raises(InvalidPolicyError, match="policy: expected an object"):
        load_policy(b"[]")
    with pytest.raises(InvalidPolicyError, match="policy: repeated version"):
        load_policy(b'{"version": "1", "version": "2"}')


def test_a_policy_of_pure_equity_still_refuses_what_it_cannot_hold() -> None:
    """Without another class, lowering equity is impossible; raising cash is not."""

    def pure(p: dict[str, Any]) -> None:
        model = p["models"]["aggressive"]["long"]
        model.update(dict.fromkeys(model, "0.0000"))
        model["us_equity"] = "1.0000"

    agent = BuiltinAgent(load_policy(edited(pure)))
    request = AgentRequest(1, "aggressive", Decimal(10), 30, constraints={"max_equity": "0.5"})
    with pytest.raises(AgentRefused) as caught:
        ask(agent, request)
    assert caught.value.reason == "max-equity-unreachable"
    raised = ask(agent, AgentRequest(1, "aggressive", Decimal(10), 30, constraints={"min_cash": "0.25"}))
    assert "min_cash +0.2500" in json.dumps(raised.recommendation)
