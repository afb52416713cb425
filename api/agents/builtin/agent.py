"""The built-in agent: a rule table that turns risk profile, horizon and constraints into a model portfolio.

It is not a language model, and its answers say so. The same request and the same policy file give the same answer, byte
for byte. All arithmetic is Decimal, in a context that raises on any rounding. docs/use/builtin-agent.md describes the
rules and the answer.

The texts in an answer are part of the agent's version: a changed text needs a new RULES_VERSION.
"""

from dataclasses import dataclass
from decimal import Decimal, localcontext
from itertools import pairwise

from api.agents.history import UNREAD_RESPONSE, earlier_report, was_returned
from api.agents.house_policy import CASH, EXACT, ONE, ZERO, Policy, Weights, load_policy
from api.agents.limits import CENT, WEIGHT_UNIT, Limits, apportion, check_request, read_limits
from api.agents.prompt import as_shown, canonical_text, user_message
from api.agents.protocol import JSON, AgentAnswer, AgentRefused, AgentRequest
from ledger.domain.answer_schemas import ALLOCATIONS
from schema.events import CallStart

NAME = "builtin-model-portfolios"
RULES_VERSION = "1.1.0"

LIMITATIONS = (
    "This comes from a fixed rule table. It is not a language model and it does not reason about the client.",
    "It is not investment advice: a person has to judge it and answer for it.",
    "The model portfolios are illustrative house models, not fitted to market data or to any client.",
    "Only risk profile, amount, horizon and constraints are used: not income, debts, holdings, taxes or fees.",
    "Earlier recommendations change no figure: what would change against the last one that stands is only reported.",
    "No single class is limited: exclusions can concentrate the portfolio in what remains.",
    "max_equity and min_cash hold for the weights; amounts are rounded to the cent.",
)
UNREAD = "Objectives and notes are free text, and this agent does not read them."
UNREAD_HERE = UNREAD + " This request has some: a person has to read them."
ROUNDING = (
    "Weights are multiples of 0.0001 and amounts of 0.01. What is left after rounding down goes, one unit each, to the "
    "largest remainders; between equal remainders, to the class listed first."
)


@dataclass(frozen=True)
class Step:
    """One applied rule: its short name, its effect in words, and the weights after it."""

    name: str
    rule: str
    weights: Weights


class BuiltinAgent:
    """An agent that needs only a policy. It has no state and is safe in threads."""

    name: str = NAME
    answer_schema: str = ALLOCATIONS
    deterministic: bool = True
    timeout_s: float = 10.0

    def __init__(self, policy: Policy | None = None) -> None:
        """Use `policy`, or the packaged one. Raises InvalidPolicyError."""
        self.policy = policy or load_policy()
        self.version: str = f"{RULES_VERSION}+policy.{self.policy.version}"
        self._parameters: dict[str, JSON] = {
            "policy_version": self.policy.version,
            "policy_sha256": self.policy.sha256,
        }

    def prepare(self, request: AgentRequest) -> CallStart:
        """Return the input of the rule table as a call. Raises AgentRefused only if it is not JSON."""
        return CallStart(
            provider_name="advice-ledger",
            operation_name="invoke_agent",
            request_model=NAME,
            request_parameters=dict(self._parameters),
            input_messages=user_message(canonical_text(as_shown(request))),
        )

    def answer(self, request: AgentRequest, call: CallStart) -> AgentAnswer:  # noqa: ARG002 - the request is enough
        """Return weights that sum to exactly 1 and amounts that sum to the requested one. Raises AgentRefused."""
        with localcontext(EXACT):
            check_request(request)
            limits = read_limits(self.policy, request.constraints)
            steps = apply_rules(self.policy, request, limits)
            recommendation = _recommendation(self.policy, request, steps)
        return AgentAnswer(
            recommendation=recommendation,
            model_name=NAME,
            model_version=self.version,
            parameters=dict(self._parameters),
        )


# --- the rules, in their order --------------------------------------------------------------------


def apply_rules(policy: Policy, request: AgentRequest, limits: Limits) -> list[Step]:
    """Select the model portfolio and apply each constraint. Raises AgentRefused if they cannot all hold."""
    steps = [_select(policy, request)]
    if limits.excluded:
        steps.append(_exclude(policy, steps[-1].weights, limits))
    if limits.max_equity is not None:
        steps.append(_cap_equity(policy, steps[-1].weights, limits.max_equity, limits))
    if limits.min_cash is not None:
        steps.append(_raise_cash(steps[-1].weights, limits.min_cash))
    return steps


def _select(policy: Policy, request: AgentRequest) -> Step:
    years, bucket = request.horizon_years, policy.horizon(request.horizon_years)
    why = "no horizon was given, and this is the policy's default" if years is None else f"horizon_years is {years}"
    rule = f"Start from the model portfolio {request.risk_profile}/{bucket}: {why}."
    return Step("model", rule, dict(policy.models[request.risk_profile][bucket]))


def _exclude(policy: Policy, weights: Weights, limits: Limits) -> Step:
    """Remove the excluded classes. Equity keeps the model's share if an equity class is left, and never more."""
    kept = {name: ZERO if name in limits.excluded else weight for name, weight in weights.items()}
    if not any(kept.values()):
        raise AgentRefused("everything-excluded", "every asset class that the model portfolio holds is excluded")
    equity = policy.equity_share(weights) if policy.equity_share(kept) else ZERO
    rule = (
        f"Excluded: {policy.labels(limits.excluded)}. Their weight goes, in proportion, to the other classes held: "
        "from equity to equity, or to the rest when no equity is left; from the rest to the rest, never to equity."
    )
    return Step("exclude_asset_classes", rule, _at_equity(policy, kept, equity, limits))


def _cap_equity(policy: Policy, weights: Weights, limit: Decimal, limits: Limits) -> Step:
    before = policy.equity_share(weights)
    counted = policy.labels(each.name for each in policy.classes if each.equity)
    if before <= limit:
        rule = f"max_equity {limit}: equity ({counted}) is {before:.4f}; nothing to change."
        return Step("max_equity", rule, weights)
    rule = (
        f"max_equity {limit}: equity ({counted}) lowered from {before:.4f} in proportion; "
        "the difference goes to the other classes held, in proportion."
    )
    return Step("max_equity", rule, _at_equity(policy, weights, limit, limits))


def _at_equity(policy: Policy, weights: Weights, equity: Decimal, limits: Limits) -> Weights:
    """Scale the equity classes to sum to `equity` and the others to the rest, each side in proportion."""
    stocks = {name: weight for name, weight in weights.items() if policy.is_equity(name)}
    others = {name: weight for name, weight in weights.items() if name not in stocks}
    if equity < ONE and not any(others.values()):
        raise _only_equity_left(equity, limits)
    scaled = apportion(equity, stocks, WEIGHT_UNIT) | apportion(ONE - equity, others, WEIGHT_UNIT)
    return {name: scaled[name] for name in weights}


def _only_equity_left(equity: Decimal, limits: Limits) -> AgentRefused:
    if limits.max_equity is not None and limits.max_equity < ONE:
        message = f"max_equity is {limits.max_equity}, and no class that the model portfolio holds is left but equity"
        return AgentRefused("max-equity-unreachable", message)
    message = f"no class that the model portfolio holds is left but equity, of which it holds no more than {equity:.4f}"
    return AgentRefused("only-equity-left", message)


def _raise_cash(weights: Weights, floor: Decimal) -> Step:
    before = weights[CASH]
    if before >= floor:
        return Step("min_cash", f"min_cash {floor}: cash is {before:.4f}; nothing to change.", weights)
    rest = apportion(ONE - floor, {name: weight for name, weight in weights.items() if name != CASH}, WEIGHT_UNIT)
    rule = f"min_cash {floor}: cash raised from {before:.4f}; every other class lowered in proportion."
    return Step("min_cash", rule, {name: floor if name == CASH else rest[name] for name in weights})


# --- the answer --------------------------------------------------------------------------------------------------


def _recommendation(policy: Policy, request: AgentRequest, steps: list[Step]) -> dict[str, JSON]:
    weights = steps[-1].weights
    amounts = apportion(request.amount_usd, weights, CENT)
    allocations: list[JSON] = [
        {
            "asset_class": each.name,
            "label": each.label,
            "weight": f"{weights[each.name]:.4f}",
            "amount_usd": f"{amounts[each.name]:.2f}",
            "rule": _trail(steps, each.name),
        }
        for each in policy.classes
    ]
    return {
        "kind": "model-portfolio",
        "policy_version": policy.version,
        "policy_sha256": policy.sha256,
        "summary": _summary(policy, request, weights),
        "allocations": allocations,
        "rules": [*(step.rule for step in steps), ROUNDING],
        "earlier": earlier_report(request, weights),
        "limitations": _limitations(request),
    }


def _limitations(request: AgentRequest) -> list[JSON]:
    unread = UNREAD_HERE if request.objectives or request.notes else UNREAD
    return [*LIMITATIONS, unread, *([UNREAD_RESPONSE] if was_returned(request) else [])]


def _trail(steps: list[Step], name: str) -> str:
    """List the steps that changed one weight: `model 0.2200, max_equity +0.0300`."""
    changes = [(after.name, after.weights[name] - before.weights[name]) for before, after in pairwise(steps)]
    start = f"{steps[0].name} {steps[0].weights[name]:.4f}"
    return ", ".join([start, *(f"{step} {change:+.4f}" for step, change in changes if change)])


def _summary(policy: Policy, request: AgentRequest, weights: Weights) -> str:
    model = f"{request.risk_profile}/{policy.horizon(request.horizon_years)}"
    return (
        f"Model portfolio {model}, policy {policy.version}: equity {policy.equity_share(weights):.4f}, "
        f"cash {weights[CASH]:.4f}. Made by a rule table: not a language model, and not advice."
    )
