"""Check a request's amount and constraints, and divide exactly. For all agents that answer in weights.

All arithmetic is Decimal, in the context `api.agents.house_policy.EXACT`, which raises on any rounding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, InvalidOperation

from api.agents.house_policy import CASH, ONE, RISK_PROFILES, ZERO, Policy
from api.agents.protocol import AgentRefused, AgentRequest

WEIGHT_UNIT, CENT = Decimal("0.0001"), Decimal("0.01")
MAX_AMOUNT_USD = Decimal("999999999999.99")
ROUNDS = Context(prec=40)  # only for quantize, to read a request's numbers as multiples of our units
CONSTRAINTS = ("exclude_asset_classes", "max_equity", "min_cash")


@dataclass(frozen=True)
class Limits:
    """The checked constraints of a request. max_equity is rounded down and min_cash up, so both hold."""

    excluded: frozenset[str]
    max_equity: Decimal | None
    min_cash: Decimal | None


def check_request(request: AgentRequest) -> None:
    """Check profile, horizon and amount. Raises AgentRefused."""
    if request.risk_profile not in RISK_PROFILES:
        raise AgentRefused("unknown-risk-profile", f"risk_profile is not one of {', '.join(RISK_PROFILES)}")
    if request.horizon_years is not None and request.horizon_years < 1:
        raise AgentRefused("invalid-horizon", "horizon_years is less than 1")
    amount = request.amount_usd
    in_range = amount.is_finite() and ZERO < amount <= MAX_AMOUNT_USD
    if not in_range or amount != amount.quantize(CENT, context=ROUNDS):
        raise AgentRefused("invalid-amount", f"amount_usd is not between 0.01 and {MAX_AMOUNT_USD} in whole cents")


def read_limits(policy: Policy, constraints: Mapping[str, object]) -> Limits:
    """Check the constraints of a request; a member that is None counts as absent. Raises AgentRefused."""
    present = {name: value for name, value in constraints.items() if value is not None}
    unknown = sorted(set(present) - set(CONSTRAINTS))
    if unknown:
        raise AgentRefused("unknown-constraint", f"{unknown[0]!r:.80} is not one of {', '.join(CONSTRAINTS)}")
    limits = Limits(
        _excluded(policy, present.get("exclude_asset_classes", ())),
        _share("max_equity", present.get("max_equity"), ROUND_FLOOR),
        _share("min_cash", present.get("min_cash"), ROUND_CEILING),
    )
    if CASH in limits.excluded and limits.min_cash:
        raise AgentRefused("cash-excluded", f"min_cash requires {limits.min_cash} in cash, and cash is excluded")
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
    """Read a share of the whole as a multiple of WEIGHT_UNIT. A float is refused, because it is not exact."""
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


def apportion(total: Decimal, shares: Mapping[str, Decimal], unit: Decimal) -> dict[str, Decimal]:
    """Split `total` into multiples of `unit` in proportion to `shares`: largest remainder, ties to the earlier name.

    The parts sum to exactly `total`, and a part is zero if its share is zero. `total` must be a multiple of `unit`. If
    all shares are zero, `total` must be zero. Division is by divmod, so quotients and remainders are exact.
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
