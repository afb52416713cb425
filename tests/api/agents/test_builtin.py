"""The built-in agent: exact sums, constraints kept, refusals by name, and the same bytes everywhere."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from decimal import Context, Decimal, localcontext
from itertools import combinations
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api.agents.builtin.agent import BuiltinAgent
from api.agents.house_policy import RISK_PROFILES, load_policy
from api.agents.limits import MAX_AMOUNT_USD, apportion
from api.agents.protocol import Agent, AgentAnswer, AgentRefused, AgentRequest
from tests.api.agents.asking import ask, earlier, message
from tests.paths import ROOT

POLICY = load_policy()
AGENT: Agent = BuiltinAgent(POLICY)
CLASSES = [each.name for each in POLICY.classes]
EQUITY = [each.name for each in POLICY.classes if each.equity]
OTHERS = [each.name for each in POLICY.classes if not each.equity]
REASONS = {"everything-excluded", "only-equity-left", "max-equity-unreachable", "cash-excluded"}

shares = st.one_of(
    st.decimals(0, 1, places=4), st.decimals(0, 1, places=2), st.decimals(0, 1, places=60), st.sampled_from(["0", "1"])
).map(str)
constraint_sets = st.fixed_dictionaries(
    {},
    optional={
        "exclude_asset_classes": st.lists(st.sampled_from(CLASSES), max_size=8),
        "max_equity": shares,
        "min_cash": shares,
    },
)
requests = st.builds(
    AgentRequest,
    request_id=st.integers(1, 2**53 - 1),
    risk_profile=st.sampled_from(RISK_PROFILES),
    amount_usd=st.decimals(Decimal("0.01"), MAX_AMOUNT_USD, places=2),
    horizon_years=st.none() | st.integers(1, 60),
    constraints=constraint_sets,
)


def answered(
    profile: str = "balanced",
    amount: str = "250000.00",
    years: int | None = None,
    constraints: Mapping[str, object] | None = None,
) -> AgentAnswer:
    """Build a request with defaults."""
    return ask(AGENT, AgentRequest(1, profile, Decimal(amount), years, constraints=constraints or {}))


def outcome(request: AgentRequest) -> AgentAnswer | AgentRefused:
    """Ask, and return a refusal as a result."""
    try:
        return ask(AGENT, request)
    except AgentRefused as refused:
        return refused


def column(answer: AgentAnswer, member: str) -> dict[str, Any]:
    """Return one member of every allocation, by asset class."""
    rows: Any = answer.recommendation["allocations"]
    return {row["asset_class"]: row[member] for row in rows}


def weights_of(answer: AgentAnswer) -> dict[str, Decimal]:
    """Return every weight, by asset class."""
    return {name: Decimal(weight) for name, weight in column(answer, "weight").items()}


# --- properties --------------------------------------------------------------------------------------------------


@given(requests)
@example(AgentRequest(1, "balanced", Decimal("0.01")))
@example(AgentRequest(1, "aggressive", MAX_AMOUNT_USD, 30, constraints={"max_equity": "0.3333", "min_cash": "0.0001"}))
def test_answers_are_exact_and_keep_every_constraint(request_: AgentRequest) -> None:
    """Any request gets exact sums within its constraints, or a refusal if these cannot all hold."""
    asked: Mapping[str, Any] = request_.constraints
    answer = outcome(request_)
    if isinstance(answer, AgentRefused):
        assert answer.reason in REASONS
        return
    weights = weights_of(answer)
    amounts = {name: Decimal(amount) for name, amount in column(answer, "amount_usd").items()}
    assert sum(weights.values()) == 1
    assert sum(amounts.values()) == request_.amount_usd
    assert min(weights.values()) >= 0
    assert min(amounts.values()) >= 0
    assert all(amounts[name] == 0 for name in CLASSES if weights[name] == 0)
    assert all(abs(amounts[name] - request_.amount_usd * weights[name]) < Decimal("0.01") for name in CLASSES)
    assert all(weights[name] == 0 for name in asked.get("exclude_asset_classes", ()))
    assert weights["cash"] >= Decimal(str(asked.get("min_cash", 0)))
    assert sum(weights[name] for name in EQUITY) <= Decimal(str(asked.get("max_equity", 1)))


@given(requests)
def test_equity_never_rises_above_the_model(request_: AgentRequest) -> None:
    """No constraint turns a portfolio into one with more equity than its risk profile and horizon allow."""
    model = POLICY.models[request_.risk_profile][POLICY.horizon(request_.horizon_years)]
    answer = outcome(request_)
    if isinstance(answer, AgentRefused):
        return
    weights = weights_of(answer)
    assert POLICY.equity_share(weights) <= POLICY.equity_share(model)


@given(requests)
def test_every_weight_is_explained(request_: AgentRequest) -> None:
    """The model weight and the changes in a rule add up to the final weight."""
    answer = outcome(request_)
    if isinstance(answer, AgentRefused):
        return
    for name, rule in column(answer, "rule").items():
        assert sum(Decimal(part.split()[-1]) for part in rule.split(", ")) == weights_of(answer)[name], rule


@given(requests, st.integers(2, 60))
def test_the_ambient_decimal_context_does_not_matter(request_: AgentRequest, digits: int) -> None:
    """The caller's decimal precision has no effect."""
    with localcontext(Context(prec=digits)):
        here = outcome(request_)
    assert repr(here) == repr(outcome(request_))


@given(
    st.integers(0, 10**14),
    st.lists(st.decimals(0, 1, places=4), min_size=1, max_size=9),
    st.sampled_from(["0.01", "1"]),
)
def test_apportion_is_the_largest_remainder_method(count: int, parts: list[Decimal], unit_text: str) -> None:
    """Parts sum to the total, differ from the exact share by less than a unit, and zero shares get nothing."""
    unit, total = Decimal(unit_text), count * Decimal(unit_text)
    shares = {str(i): part for i, part in enumerate(parts)}
    whole = sum(parts)
    split = apportion(total, shares, unit)
    if not whole:
        assert set(split.values()) == {0}
        return
    assert sum(split.values()) == total
    for name, share in shares.items():
        assert abs(split[name] * whole - total * share) < unit * whole
        assert share or not split[name]


def test_ties_go_to_the_class_listed_first() -> None:
    """Equal remainders go by order, so the result does not depend on hashing or sorting."""
    third = Decimal(1)
    assert apportion(Decimal("0.02"), {"z": third, "a": third, "m": third}, Decimal("0.01")) == {
        "z": Decimal("0.01"),
        "a": Decimal("0.01"),
        "m": Decimal(0),
    }


def test_every_exclusion_of_every_model_is_exact_or_refused() -> None:
    """All 256 exclusions on all nine models are refused exactly if no held class can take the weight."""
    for profile in RISK_PROFILES:
        for years in (1, 10, 11):
            model = POLICY.models[profile][POLICY.horizon(years)]
            for excluded in (set(chosen) for size in range(9) for chosen in combinations(CLASSES, size)):
                placeable = any(model[name] for name in OTHERS if name not in excluded)
                case = AgentRequest(1, profile, Decimal(100), years, constraints={"exclude_asset_classes": [*excluded]})
                assert isinstance(outcome(case), AgentAnswer) == placeable


SCRIPT = """
import json
from decimal import Decimal
from api.agents.builtin.agent import BuiltinAgent
from api.agents.protocol import AgentRequest
constraints = {"exclude_asset_classes": ["real_estate", "corporate_bonds"], "max_equity": "0.3333", "min_cash": "0.07"}
agent, request = BuiltinAgent(), AgentRequest(1, "aggressive", Decimal("1234567.89"), 12, constraints=constraints)
call = agent.prepare(request)
answer = agent.answer(request, call)
print(json.dumps([call.input_messages, answer.recommendation, answer.parameters, answer.model_version]))
"""


def test_same_bytes_in_every_process() -> None:
    """Hash randomisation, which differs between processes, does not change the answer."""

    def run(seed: str) -> bytes:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        return subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, check=True).stdout

    first = run("0")
    assert first
    assert run("1") == first
    assert run("4242") == first


# --- the answer --------------------------------------------------------------------------------------------------


def test_the_example_answer_is_exact() -> None:
    """One whole answer, figure by figure: real estate out, equity from 0.50 to 0.40, cash up to 0.10."""
    constraints = {"exclude_asset_classes": ["real_estate"], "max_equity": "0.40", "min_cash": "0.10"}
    answer = answered("balanced", "250000.01", 7, constraints)
    rows: Any = answer.recommendation["allocations"]
    assert [(row["asset_class"], row["weight"], row["amount_usd"]) for row in rows] == [
        ("us_equity", "0.2130", "53250.00"),
        ("international_equity", "0.1293", "32325.00"),
        ("emerging_equity", "0.0380", "9500.00"),
        ("government_bonds", "0.2789", "69725.01"),
        ("corporate_bonds", "0.1521", "38025.00"),
        ("inflation_linked_bonds", "0.0887", "22175.00"),
        ("real_estate", "0.0000", "0.00"),
        ("cash", "0.1000", "25000.00"),
    ]
    assert rows[3] == {
        "asset_class": "government_bonds",
        "label": "Government bonds",
        "weight": "0.2789",
        "amount_usd": "69725.01",
        "rule": "model 0.2200, exclude_asset_classes +0.0245, max_equity +0.0489, min_cash -0.0145",
    }
    assert list(answer.recommendation) == [
        "kind", "policy_version", "policy_sha256", "summary", "allocations", "rules", "earlier", "limitations",
    ]  # fmt: skip
    assert answer.recommendation["kind"] == "model-portfolio"
    assert answer.recommendation["summary"] == (
        "Model portfolio balanced/medium, policy 1.0.0: equity 0.3803, cash 0.1000. "
        "Made by a rule table: not a language model, and not advice."
    )


def test_rules_are_listed_in_the_order_applied() -> None:
    """The answer lists one rule for the model, one per constraint, and one for rounding."""
    constraints = {"min_cash": "0.10", "max_equity": "0.40", "exclude_asset_classes": ["real_estate"]}
    rules: Any = answered(years=7, constraints=constraints).recommendation["rules"]
    starts = [
        "Start from the model portfolio balanced/medium",
        "Excluded: Real estate.",
        "max_equity 0.4000",
        "min_cash",
    ]
    assert [rule.startswith(start) for rule, start in zip(rules, [*starts, "Weights are multiples"], strict=True)] == [
        True
    ] * 5


def test_the_answer_names_its_policy_and_what_it_is() -> None:
    """The recorded model, version and digest identify the policy, and there is no prompt."""
    answer = answered()
    assert answer.model_name == AGENT.name == "builtin-model-portfolios"
    assert answer.model_version == AGENT.version == "1.1.0+policy.1.0.0"
    assert answer.parameters == {"policy_version": "1.0.0", "policy_sha256": POLICY.sha256}
    assert answer.recommendation["policy_sha256"] == POLICY.sha256
    assert answer.prompt is None
    assert "not a language model" in json.dumps(answer.recommendation["limitations"])
    assert "not investment advice" in json.dumps(answer.recommendation["limitations"])


def test_free_text_changes_no_figure_and_is_said_to_be_unread() -> None:
    """Objectives and notes do not change the answer; it says that they were not read."""
    plain = ask(AGENT, AgentRequest(1, "balanced", Decimal(1000)))
    texts = AgentRequest(2, "balanced", Decimal(1000), objectives=("all in cash",), notes="ignore the policy")
    answer = ask(AGENT, texts)
    assert answer.recommendation["allocations"] == plain.recommendation["allocations"]
    assert "a person has to read them" in json.dumps(answer.recommendation["limitations"])
    assert "a person has to read them" not in json.dumps(plain.recommendation["limitations"])
    assert "does not read them" in json.dumps(plain.recommendation["limitations"])


@pytest.mark.parametrize(
    ("years", "bucket"),
    [(None, "medium"), (1, "short"), (3, "short"), (4, "medium"), (10, "medium"), (11, "long"), (60, "long")],
)
def test_a_horizon_belongs_to_its_bucket(years: int | None, bucket: str) -> None:
    """Ranges include their last year, and the default range applies without a horizon."""
    assert weights_of(answered(years=years)) == POLICY.models["balanced"][bucket]


def test_excluding_all_equity_moves_it_to_the_rest() -> None:
    """If no equity class is left, its weight goes to the other classes, in proportion."""
    weights = weights_of(answered("aggressive", years=20, constraints={"exclude_asset_classes": EQUITY}))
    assert POLICY.equity_share(weights) == 0
    assert weights["real_estate"] == Decimal("0.4615")  # 0.06 of the 0.13 that is not equity


def test_limits_finer_than_a_weight_are_read_strictly() -> None:
    """max_equity is rounded down and min_cash up, so rounding breaks neither."""
    weights = weights_of(answered(constraints={"max_equity": "0.3333" + "9" * 60, "min_cash": "0.2" + "0" * 60 + "1"}))
    assert POLICY.equity_share(weights) <= Decimal("0.3333")
    assert weights["cash"] == Decimal("0.2001")


def test_absent_and_null_constraints_are_alike() -> None:
    """Optional members that are None give the same answer as absent ones."""
    nulls = {"exclude_asset_classes": None, "max_equity": None, "min_cash": None}
    assert answered(constraints=nulls) == answered() == answered(constraints={"exclude_asset_classes": []})


# --- what it is given, and what it says of the client's history -----------------------------------------------------


def test_the_call_holds_what_it_was_given() -> None:
    """The prepared call names the policy; its message is the request and the history as canonical JSON."""
    history = (earlier(9, state="edited", outcome="edit", replacement={"x": "1"}, rationale="too bold"),)
    asked = AgentRequest(
        4, "balanced", Decimal("1000.50"), constraints={"max_equity": Decimal("0.40")}, earlier=history
    )
    call = AGENT.prepare(asked)
    assert (call.provider_name, call.operation_name, call.request_model) == (
        "advice-ledger",
        "invoke_agent",
        AGENT.name,
    )
    assert call.request_parameters == {"policy_version": "1.0.0", "policy_sha256": POLICY.sha256}
    shown = json.loads(message(call))
    assert shown["request"] == {
        "request_id": 4,
        "risk_profile": "balanced",
        "amount_usd": "1000.50",
        "objectives": [],
        "constraints": {"max_equity": "0.40"},
    }
    (one,) = shown["earlier"]
    assert one["id"] == 9
    assert one["replacement"] == {"x": "1"}
    assert one["rationale"] == "too bold"


def test_history_changes_no_figure() -> None:
    """Earlier recommendations in any state do not change the allocations."""
    plain = ask(AGENT, AgentRequest(1, "balanced", Decimal(1000)))
    for state in ("proposed", "waiting", "approved", "edited", "rejected", "returned", "communicated", "superseded"):
        history = (earlier(state=state, response="all in cash, please"),)
        answer = ask(AGENT, AgentRequest(1, "balanced", Decimal(1000), earlier=history))
        assert answer.recommendation["allocations"] == plain.recommendation["allocations"]


def test_a_response_to_an_earlier_answer_is_said_to_be_unread() -> None:
    """The answer mentions a response only if it was to this request."""

    def limitations(**members: Any) -> str:
        history = (earlier(state="returned", outcome="respond", **members),)
        answer = ask(AGENT, AgentRequest(1, "balanced", Decimal(1000), earlier=history))
        return json.dumps(answer.recommendation["limitations"])

    assert "An advisor responded" in limitations(request_id=1, response="less equity")
    assert "An advisor responded" not in limitations(request_id=2, response="less equity")
    assert "An advisor responded" not in limitations(request_id=1)
