"""The built-in agent: a rule table that turns risk profile, horizon and constraints into a model portfolio.

It is not a language model and says so. The same request and the same policy file give the same answer, byte for byte.
All arithmetic is Decimal in a context that raises on any rounding, so what is not exact by construction cannot pass.
docs/agent.md describes the rules and the answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, InvalidOperation, localcontext
from itertools import pairwise

from api.agents.policy import CASH, EXACT, ONE, RISK_PROFILES, ZERO, Policy, Weights, load_policy
from api.agents.protocol import JSON, AgentAnswer, AgentRefused, AgentRequest

NAME = "builtin-model-portfolios"
RULES_VERSION = "1.0.0"

WEIGHT_UNIT, CENT = Decimal("0.0001"), Decimal("0.01")
MAX_AMOUNT_USD = Decimal("999999999999.99")
ROUNDS = Context(prec=40)  # only for quantize, where what was asked is read as a multiple of our units
CONSTRAINTS = ("exclude_asset_classes", "max_equity", "min_cash")

LIMITATIONS = (
    "This comes from a fixed rule table. It is not a language model and it does not reason about the client.",
    "It is not investment advice: a person has to judge it and answer for it.",
    "The model portfolios are illustrative house models, not fitted to market data or to any client.",
    "Only risk profile, amount, horizon and constraints are used: not income, debts, holdings, taxes, fees or history.",
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
class Limits:
    """The constraints of a request, checked. max_equity is rounded down and min_cash up, so both hold as asked."""

    excluded: frozenset[str]
    max_equity: Decimal | None
    min_cash: Decimal | None


@dataclass(frozen=True)
class Step:
    """One rule applied: its short name, what it did in words, and the weights after it."""

    name: str
    rule: str
    weights: Weights


class BuiltinAgent:
    """The agent `api.agents.protocol.Agent` that needs nothing but a policy. Holds no state; safe in threads."""

    name: str = NAME

    def __init__(self, policy: Policy | None = None) -> None:
        """Use `policy`, or else the packaged one (raises InvalidPolicyError)."""
        self.policy = policy or load_policy()
        self.version: str = f"{RULES_VERSION}+policy.{self.policy.version}"

    def recommend(self, request: AgentRequest) -> AgentAnswer:
        """Weights that sum to exactly 1 and amounts that sum to exactly the request's. Raises AgentRefused."""
        with localcontext(EXACT):
            _check(request)
            limits = read_limits(self.policy, request.constraints)
            steps = apply_rules(self.policy, request, limits)
            recommendation = _recommendation(self.policy, request, steps)
        return AgentAnswer(
            recommendation=recommendation,
            model_name=NAME,
            model_version=self.version,
            parameters={"policy_version": self.policy.version, "policy_sha256": self.policy.sha256},
            prompt=None,
        )


def _check(request: AgentRequest) -> None:
    if request.risk_profile not in RISK_PROFILES:
        raise AgentRefused("unknown-risk-profile", f"risk_profile is not one of {', '.join(RISK_PROFILES)}")
    if request.horizon_years is not None and request.horizon_years < 1:
        raise AgentRefused("invalid-horizon", "horizon_years is less than 1")
    amount = request.amount_usd
    in_range = amount.is_finite() and ZERO < amount <= MAX_AMOUNT_USD
    if not in_range or amount != amount.quantize(CENT, context=ROUNDS):
        raise AgentRefused("invalid-amount", f"amount_usd is not between 0.01 and {MAX_AMOUNT_USD} in whole cents")


# --- constraints -------------------------------------------------------------------------------------------------


def read_limits(policy: Policy, constraints: Mapping[str, object]) -> Limits:
    """Check the constraints of a request; a member that is None counts as absent. Raises AgentRefused."""
    given = {name: value for name, value in constraints.items() if value is not None}
    unknown = sorted(set(given) - set(CONSTRAINTS))
    if unknown:
        raise AgentRefused("unknown-constraint", f"{unknown[0]!r:.80} is not one of {', '.join(CONSTRAINTS)}")
    limits = Limits(
        _excluded(policy, given.get("exclude_asset_classes", ())),
        _share("max_equity", given.get("max_equity"), ROUND_FLOOR),
        _share("min_cash", given.get("min_cash"), ROUND_CEILING),
    )
    if CASH in limits.excluded and limits.min_cash:
        raise AgentRefused("cash-excluded", f"min_cash asks for {limits.min_cash} in cash, and cash is excluded")
    return limits


def _excluded(policy: Policy, value: object) -> frozenset[str]:
    if not isinstance(value, list | tuple):
        raise AgentRefused("invalid-constraint", "exclude_asset_classes is not a list of asset classes")
    known = [each.name for each in policy.classes]
    for name in value:
        if name not in known:
            raise AgentRefused("unknown-asset-class", f"{name!r:.80} is not one of {', '.join(known)}")
    return frozenset(value)


def _share(name: str, value: object, rounding: str) -> Decimal | None:
    """A share of the whole as a multiple of WEIGHT_UNIT. A float is refused: it is not the number that was meant."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise AgentRefused("invalid-constraint", f'{name} is not a decimal string such as "0.40"')
    try:
        share = Decimal(value)
    except InvalidOperation:
        raise AgentRefused("invalid-constraint", f'{name} is not a decimal string such as "0.40"') from None
    if not share.is_finite() or not ZERO <= share <= ONE:
        raise AgentRefused("invalid-constraint", f"{name} is not between 0 and 1")
    return share.copy_abs().quantize(WEIGHT_UNIT, rounding=rounding, context=ROUNDS)


# --- the rules, in the order they are applied --------------------------------------------------------------------


def apply_rules(policy: Policy, request: AgentRequest, limits: Limits) -> list[Step]:
    """The model portfolio, then one step per constraint given. Raises AgentRefused where they cannot all hold."""
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
    """Equity keeps the model's share while an equity class is left, and never rises above it."""
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


def apportion(total: Decimal, shares: Mapping[str, Decimal], unit: Decimal) -> dict[str, Decimal]:
    """Split `total` into multiples of `unit` in proportion to `shares`: largest remainder, ties to the earlier name.

    The parts sum to exactly `total`, and a part is zero where its share is. `total` must be a multiple of `unit`, and
    zero if all shares are. Division is by divmod, so quotients and remainders are exact.
    """
    whole = sum(shares.values(), ZERO)
    if not whole:
        return dict.fromkeys(shares, ZERO)
    split = {name: divmod(total * share, whole * unit) for name, share in shares.items()}
    parts = {name: count * unit for name, (count, _) in split.items()}
    left = int((total - sum(parts.values(), ZERO)) / unit)
    for name in sorted(split, key=lambda name: -split[name][1])[:left]:
        parts[name] += unit
    return parts


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
        "limitations": [*LIMITATIONS, UNREAD_HERE if request.objectives or request.notes else UNREAD],
    }


def _trail(steps: list[Step], name: str) -> str:
    """How one weight came about: `model 0.2200, max_equity +0.0300`. Steps that left it alone are omitted."""
    changes = [(after.name, after.weights[name] - before.weights[name]) for before, after in pairwise(steps)]
    start = f"{steps[0].name} {steps[0].weights[name]:.4f}"
    return ", ".join([start, *(f"{step} {change:+.4f}" for step, change in changes if change)])


def _summary(policy: Policy, request: AgentRequest, weights: Weights) -> str:
    model = f"{request.risk_profile}/{policy.horizon(request.horizon_years)}"
    return (
        f"Model portfolio {model}, policy {policy.version}: equity {policy.equity_share(weights):.4f}, "
        f"cash {weights[CASH]:.4f}. Made by a rule table: not a language model, and not advice."
    )
