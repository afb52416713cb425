"""What the built-in agent refuses, each by its reason code."""

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
    """Ask, and return the refusal there must be. From answer(), so that it is recorded against a call."""
    with pytest.raises(AgentRefused) as caught:
        AGENT.answer(request, CALL)
    return caught.value


def refusal(**constraints: object) -> AgentRefused:
    """Ask for a balanced portfolio with these constraints, and return the refusal there must be."""
    return refuse(AgentRequest(1, "balanced", Decimal(1000), constraints=constraints))


def test_refuses_everything_excluded() -> None:
    """No class left, or none that the model holds."""
    assert refusal(exclude_asset_classes=CLASSES).reason == "everything-excluded"
    held = [name for name in CLASSES if name != "real_estate"]
    assert (
        refuse(AgentRequest(1, "conservative", Decimal(1), 1, constraints={"exclude_asset_classes": held})).reason
        == "everything-excluded"
    )


def test_refuses_when_only_equity_is_left() -> None:
    """Equity never fills in for excluded bonds and cash; with max_equity given, that limit is named."""
    assert refusal(exclude_asset_classes=OTHERS).reason == "only-equity-left"
    assert refusal(exclude_asset_classes=OTHERS, max_equity="1").reason == "only-equity-left"
    refused = refusal(exclude_asset_classes=OTHERS, max_equity="0.40")
    assert refused.reason == "max-equity-unreachable"
    assert "max_equity is 0.4000" in str(refused)


def test_refuses_min_cash_with_cash_excluded() -> None:
    """A minimum above zero contradicts the exclusion; a minimum of zero does not."""
    assert refusal(exclude_asset_classes=["cash"], min_cash="0.05").reason == "cash-excluded"
    no_cash = AgentRequest(1, "balanced", Decimal(1), constraints={"exclude_asset_classes": ["cash"], "min_cash": "0"})
    assert AGENT.answer(no_cash, CALL).recommendation["kind"] == "model-portfolio"


@pytest.mark.parametrize("name", ["gold", "US_EQUITY", "", "\ud800", "x" * 10_000, None, 7, ["cash"]])
def test_refuses_unknown_asset_class(name: object) -> None:
    """A class that the policy does not know cannot be excluded; the message quotes it, within bounds and printable."""
    refused = refusal(exclude_asset_classes=["cash", name])
    assert refused.reason == "unknown-asset-class"
    assert len(str(refused).encode()) < 400


@pytest.mark.parametrize(
    "value", ["", "x", "-0.01", "1.01", "NaN", "sNaN", "Infinity", "1e999999999", 0.4, True, [], {}]
)
@pytest.mark.parametrize("name", ["max_equity", "min_cash"])
def test_refuses_shares_that_are_none(name: str, value: object) -> None:
    """A limit is a decimal between 0 and 1; a float is refused like any other wrong type."""
    refused = refusal(**{name: value})
    assert refused.reason == "invalid-constraint"
    assert name in str(refused)


def test_refuses_exclusions_that_are_no_list() -> None:
    """A bare string is not taken for a list of its letters."""
    assert refusal(exclude_asset_classes="cash").reason == "invalid-constraint"


def test_refuses_unknown_constraints() -> None:
    """A constraint that would not be kept is refused rather than ignored."""
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
    """What selects the model must be known."""
    assert refuse(AgentRequest(1, "reckless", Decimal(1))).reason == "unknown-risk-profile"
    assert refuse(AgentRequest(1, "balanced", Decimal(1), 0)).reason == "invalid-horizon"


@pytest.mark.parametrize("notes", ["\ud800", "a\0b"])
def test_refuses_to_prepare_what_is_no_json(notes: str) -> None:
    """What cannot be written down exactly cannot have been shown."""
    with pytest.raises(AgentRefused) as caught:
        AGENT.prepare(AgentRequest(1, "balanced", Decimal(1), notes=notes))
    assert caught.value.reason == "unreadable-request"


def test_prepares_what_it_will_refuse() -> None:
    """A request that has no answer still has a call to record the refusal against."""
    for request in (AgentRequest(1, "reckless", Decimal("NaN"), 0), AgentRequest(1, "balanced", Decimal("1e999999"))):
        assert AGENT.prepare(request).request_model == AGENT.name
        assert refuse(request).reason in {"unknown-risk-profile", "invalid-amount"}
