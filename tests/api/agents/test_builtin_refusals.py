"""The refusals of the built-in agent, by reason."""

from decimal import Decimal

import pytest

from api.agents.builtin.agent import BuiltinAgent
from api.agents.house_policy import load_policy
from api.agents.protocol import AgentRefused, AgentRequest

AGENT = BuiltinAgent()
CALL = AGENT.prepare(AgentRequest(1, "balanced", Decimal(1)))
POLICY = load_policy()
CLASSES = [each.name for each in POLICY.classes]
OTHERS = [each.name for each in POLICY.classes if not each.equity]


def refuse(request: AgentRequest) -> AgentRefused:
    """Ask, and return the refusal. It must come from answer(), so that it is recorded with a call."""
    with pytest.raises(AgentRefused) as caught:
        AGENT.answer(request, CALL)
    return caught.value


def refusal(**constraints: object) -> AgentRefused:
    """Ask for a balanced portfolio with these constraints, and return the refusal."""
    return refuse(AgentRequest(1, "balanced", Decimal(1000), constraints=constraints))


def test_refuses_everything_excluded() -> None:
    """No class is left, or none of the model's."""
    assert refusal(exclude_asset_classes=CLASSES).reason == "everything-excluded"
    held = [name for name in CLASSES if name != "real_estate"]
    assert (
        refuse(AgentRequest(1, "conservative", Decimal(1), 1, constraints={"exclude_asset_classes": held})).reason
        == "everything-excluded"
    )


def test_refuses_when_only_equity_is_left() -> None:
    """Equity never replaces excluded bonds and cash; with max_equity, that limit is named."""
    assert refusal(exclude_asset_classes=OTHERS).reason == "only-equity-left"
    assert refusal(exclude_asset_classes=OTHERS, max_equity="1").reason == "only-equity-left"
    refused = refusal(exclude_asset_classes=OTHERS, max_equity="0.40")
    assert refused.reason == "max-equity-unreachable"
    assert "max_equity is 0.4000" in str(refused)


def test_refuses_min_cash_with_cash_excluded() -> None:
    """A minimum above zero contradicts the exclusion; zero does not."""
    assert refusal(exclude_asset_classes=["cash"], min_cash="0.05").reason == "cash-excluded"
    no_cash = AgentRequest(1, "balanced", Decimal(1), constraints={"exclude_asset_classes": ["cash"], "min_cash": "0"})
    assert AGENT.answer(no_cash, CALL).recommendation["kind"] == "model-portfolio"


@pytest.mark.parametrize("name", ["gold", "US_EQUITY", "", "\ud800", "x" * 10_000, None, 7, ["cash"]])
def test_refuses_unknown_asset_class(name: object) -> None:
    """An unknown class cannot be excluded; the message quotes it, short and printable."""
    refused = refusal(exclude_asset_classes=["cash", name])
    assert refused.reason == "unknown-asset-class"
    assert len(str(refused).encode()) < 400


@pytest.mark.parametrize(
    "value", ["", "x", "-0.01", "1.01", "NaN", "sNaN", "Infinity", "1e999999999", 0.4, True, [], {}]
)
@pytest.mark.parametrize("name", ["max_equity", "min_cash"])
def test_refuses_malformed_shares(name: str, value: object) -> None:
    """A limit is a decimal between 0 and 1; a float is refused like any other wrong type."""
    refused = refusal(**{name: value})
    assert refused.reason == "invalid-constraint"
    assert name in str(refused)


def test_refuses_exclusions_that_are_not_a_list() -> None:
    """A string is not taken for a list of its letters."""
    assert refusal(exclude_asset_classes="cash").reason == "invalid-constraint"


def test_refuses_unknown_constraints() -> None:
    """An unknown constraint is refused, not ignored."""
    refused = refusal(min_bonds="0.2")
    assert refused.reason == "unknown-constraint"
    assert "'min_bonds'" in str(refused)


@pytest.mark.parametrize(
    "amount", ["0", "-1", "0.001", "1000000000000", "NaN", "sNaN", "Infinity", "1." + "0" * 60 + "1"]
)
def test_refuses_amounts_out_of_range(amount: str) -> None:
    """Only whole cents from 0.01 to 999999999999.99 can be divided exactly."""
    assert refuse(AgentRequest(1, "balanced", Decimal(amount))).reason == "invalid-amount"


def test_refuses_unknown_profiles_and_horizons() -> None:
    """An unknown risk profile is refused."""
    assert refuse(AgentRequest(1, "reckless", Decimal(1))).reason == "unknown-risk-profile"
    assert refuse(AgentRequest(1, "balanced", Decimal(1), 0)).reason == "invalid-horizon"


@pytest.mark.parametrize("notes", ["\ud800", "a\0b"])
def test_refuses_to_prepare_values_that_are_not_json(notes: str) -> None:
    """A value without a canonical form is refused."""
    with pytest.raises(AgentRefused) as caught:
        AGENT.prepare(AgentRequest(1, "balanced", Decimal(1), notes=notes))
    assert caught.value.reason == "unreadable-request"


def test_prepares_what_it_will_refuse() -> None:
    """A refused request still has a prepared call to record the refusal with."""
    for request in (AgentRequest(1, "reckless", Decimal("NaN"), 0), AgentRequest(1, "balanced", Decimal("1e999999"))):
        assert AGENT.prepare(request).request_model == AGENT.name
        assert refuse(request).reason in {"unknown-risk-profile", "invalid-amount"}
