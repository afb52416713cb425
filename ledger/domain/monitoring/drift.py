"""Judge how far a portfolio is from its target weights. Pure: values and a policy in, a judgement out.

With the value v of an asset, the value V of the portfolio, a target t and a half-width b:

    breached    abs(v - t*V) >= b*V            at the edge
    watch       abs(v - t*V) >= watch*b*V
    turnover    sum of abs(v - t*V), over all assets, >= 2*limit*V
    beyond      v > limit*V                    a limit is kept at its edge

There is no division, so an edge is met exactly. All of these are whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Literal, NamedTuple

from ledger.domain.monitoring.arithmetic import (
    ALL_SHARES,
    EXACT,
    PART,
    PLACES,
    WHOLE,
    parts,
    parts_text,
    shares,
    shipped,
)
from ledger.domain.monitoring.policy import IssuerLimits, MonitoringText
from ledger.domain.monitoring.valuation import Unknown, Valuation

Condition = Literal["ok", "watch", "breached", "unknown"]
ORDER: tuple[Condition, ...] = ("ok", "watch", "breached")
# The members of a row that is shipped.
MEMBERS = ("asset", "condition", "drift", "half_width", "target", "weight")
Shipped = tuple[str, str, str, str, str, str]


class Edges(NamedTuple):
    """A target weight in parts, and how far from it an asset may be, in shares; then both as they are shipped."""

    target: int
    breached_at: int
    watched_at: int
    rearmed_at: int
    target_text: str
    half_width_text: str
    # The edge at which a breach ends, rounded down to parts: what is within it needs no exact comparison.
    calm_at: int

    @classmethod
    def of(cls, policy: MonitoringText, asset: str, target: str) -> Edges:
        """Return the edges of an asset with this target weight, a decimal string."""
        width = policy.half_width(asset, Decimal(target))
        watched, rearmed = (shares(EXACT.multiply(part, width)) for part in (policy.watch, policy.rearm))
        return cls(parts(target), shares(width), watched, rearmed, target, f"{width:f}", rearmed // PART)


# An asset, its edges, and v - t*V multiplied by the valuation's scale. A NamedTuple takes five times as long to make.
AssetDrift = tuple[str, Edges, int, Condition]


class EdgesOf(dict[str, Edges]):
    """The edges of each target under one policy, computed when they are first looked up."""

    def __init__(self, policy: MonitoringText, asset: str = "") -> None:
        super().__init__()
        self.policy = policy
        self._asset = asset

    @cached_property
    def overridden(self) -> dict[str, EdgesOf]:
        """Those of each asset for which the policy has an override."""
        return {asset: EdgesOf(self.policy, asset) for asset in self.policy.overrides}

    def __missing__(self, target: str) -> Edges:
        found = self[target] = Edges.of(self.policy, self._asset, target)
        return found


@dataclass(frozen=True, slots=True)
class Plan:
    """The target weights of a portfolio under a policy."""

    policy: MonitoringText
    weights: Mapping[str, str]
    # Of each asset with a target, in the order of names.
    edges: Mapping[str, Edges]
    # The edges of a holding without a target.
    unlisted: Edges

    @classmethod
    def of(cls, weights: Mapping[str, str], edges: EdgesOf) -> Plan:
        """Make the plan for weights that sum to 1, as `targets` returns them."""
        of_assets = {name: edges.overridden.get(name, edges)[weights[name]] for name in sorted(weights)}
        return cls(edges.policy, weights, of_assets, edges["0"])

    def with_holdings(self, held: Mapping[str, int]) -> Mapping[str, Edges]:
        """Return the edges of each asset with a target and of each holding, in the order of names."""
        if held.keys() <= self.edges.keys():
            return self.edges
        return {name: self.edges.get(name, self.unlisted) for name in sorted(held.keys() | self.edges.keys())}


class Plans:
    """The plans of portfolios under one policy. A plan is made once, and again when the weights change."""

    def __init__(self, policy: MonitoringText) -> None:
        self._edges = EdgesOf(policy)
        self._known: dict[str, Plan] = {}

    @property
    def policy(self) -> MonitoringText:
        """The policy of the plans."""
        return self._edges.policy

    def of(self, name: str, weights: Mapping[str, str]) -> Plan:
        """Return the plan of a portfolio. The same weights are the same object, as it is not compared."""
        known = self._known.get(name)
        if known is None or known.weights is not weights:
            known = self._known[name] = Plan.of(weights, self._edges)
        return known


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a run finds about one portfolio. If the condition is unknown, only `unknown` says more."""

    condition: Condition
    unknown: tuple[Unknown, ...] = ()
    valuation: Valuation | None = None
    # In the order of names.
    assets: Sequence[AssetDrift] = ()
    # Each asset is within the edge at which a breach ends.
    rearmed: bool = False
    # The sum of the absolute drifts, which is twice the one-way turnover, multiplied by the scale.
    moved: int = 0
    turnover: Condition = "ok"
    # The assets beyond the single limit.
    beyond: tuple[str, ...] = ()

    def shipped(self) -> list[Shipped]:
        """Return the MEMBERS of each asset: decimal strings, each rounded once."""
        if self.valuation is None:
            return []
        unit = self.valuation.total // WHOLE
        rows: list[Shipped] = []
        for asset, edges, drift, condition in self.assets:
            target, _, _, _, target_text, half_width, _ = edges
            drift_parts, rest = divmod(drift, unit)
            # The weight is the drift and a whole number of parts: one division serves both. Of a tie each has its own.
            weight_parts, twice = drift_parts + target, rest + rest
            if twice > unit:
                drift_parts, weight_parts = drift_parts + 1, weight_parts + 1
            elif twice == unit:
                drift_parts, weight_parts = drift_parts + (drift_parts & 1), weight_parts + (weight_parts & 1)
            # As parts_text() writes them: a call for each would take a third of the time of a judgement.
            if 0 <= drift_parts < WHOLE and weight_parts < WHOLE:
                moved, weight = f"0.{str(drift_parts).zfill(PLACES)}", f"0.{str(weight_parts).zfill(PLACES)}"
            elif -WHOLE < drift_parts < 0 <= weight_parts:
                moved, weight = f"-0.{str(-drift_parts).zfill(PLACES)}", f"0.{str(weight_parts).zfill(PLACES)}"
            else:
                moved, weight = parts_text(drift_parts), parts_text(weight_parts)
            rows.append((asset, condition, moved, half_width, target_text, weight))
        return rows

    def rows(self) -> list[dict[str, str]]:
        """Return what is shipped for each asset, by the names of its members."""
        return [dict(zip(MEMBERS, row, strict=True)) for row in self.shipped()]

    def turnover_one_way(self) -> str:
        """Return half the sum of the absolute drifts as a share of the value, rounded once. Not of an unknown one."""
        assert self.valuation is not None
        return shipped(self.moved, 2 * self.valuation.total // WHOLE)


def targets(weights: Mapping[str, str], rest: str | None = None) -> dict[str, str]:
    """Return target weights that sum to 1, as decimal strings; the asset `rest` gets what the others leave.

    Raises ValueError.
    """
    result = dict(weights)
    amounts = [parts(weight) for weight in weights.values()]
    if rest is not None:
        if rest in result:
            raise ValueError(f"{rest} has a weight and is the rest: give it one of the two")
        amounts.append(WHOLE - sum(amounts))
        # Use as many decimals as the weight with the most has.
        decimals = max((len(weight.partition(".")[2]) for weight in weights.values()), default=0)
        result[rest] = parts_text(amounts[-1])[: 2 + decimals if decimals else 1]
    if any(amount < 0 or amount > WHOLE for amount in amounts):
        raise ValueError("a weight must be from 0 to 1")
    if (total := sum(amounts)) != WHOLE:
        known = parts_text(total).rstrip("0").rstrip(".")
        raise ValueError(f"the weights sum to {known}; they must sum to 1, or one asset must be the rest")
    return result


def judge(valued: Valuation | tuple[Unknown, ...], plan: Plan) -> Judgement:
    """Judge a portfolio by its values and its plan."""
    if isinstance(valued, tuple):
        return Judgement("unknown", valued)
    total, values = valued.total, valued.values
    unit = total // WHOLE
    drifts: list[AssetDrift] = []
    moved, worst, rearmed = 0, 0, True
    for asset, edges in plan.with_holdings(values).items():
        drift = values.get(asset, 0) - edges.target * unit
        size = abs(drift)
        moved += size
        # Most are: as `rearm` is not above `watch`, they are not watched either.
        if size < edges.calm_at * unit:
            drifts.append((asset, edges, drift, "ok"))
            continue
        fine = size * PART
        place = _place(fine, edges.breached_at * unit, edges.watched_at * unit)
        drifts.append((asset, edges, drift, ORDER[place]))
        worst, rearmed = max(worst, place), rearmed and fine <= edges.rearmed_at * unit
    turnover = _turnover(moved, unit, plan.policy)
    return Judgement(ORDER[worst], (), valued, drifts, rearmed, moved, turnover, _beyond(valued, plan.policy))


def _place(size: int, edge: int, watch: int) -> int:
    return 2 if size >= edge else int(size >= watch)


def _turnover(moved: int, unit: int, policy: MonitoringText) -> Condition:
    if policy.turnover is None:
        return "ok"
    edge = 2 * shares(policy.turnover) * unit
    return ORDER[_place(moved * PART * ALL_SHARES, edge * ALL_SHARES, edge * shares(policy.watch))]


def turnover_rearmed(judgement: Judgement, policy: MonitoringText) -> bool:
    """Return True if the turnover to target is within the edge at which a breach of its limit ends."""
    assert judgement.valuation is not None
    assert policy.turnover is not None
    edge = 2 * shares(policy.turnover) * (judgement.valuation.total // WHOLE)
    return judgement.moved * PART * ALL_SHARES <= edge * shares(policy.rearm)


def _beyond(valued: Valuation, policy: MonitoringText) -> tuple[str, ...]:
    if policy.single_limit is None:
        return ()
    most = shares(policy.single_limit) * (valued.total // WHOLE) // PART
    return tuple(sorted(asset for asset, amount in valued.values.items() if amount > most))


def is_worth_trading(item: AssetDrift, valuation: Valuation, minimum: Decimal) -> bool:
    """Return False if the trade back to the target is smaller than the policy's minimum, in the base currency."""
    return abs(item[2]) * ALL_SHARES >= shares(minimum) * valuation.scale


def issuers(valued: Valuation, group_of: Mapping[str, str], limits: IssuerLimits) -> tuple[tuple[str, ...], bool]:
    """Return the groups of issuers beyond the single limit, and True if the counted groups together are beyond theirs.

    An asset without a group is a group of its own.
    """
    groups: dict[str, int] = {}
    for asset, amount in valued.values.items():
        name = group_of.get(asset, asset)
        groups[name] = groups.get(name, 0) + amount

    def beyond(amount: int, limit: Decimal) -> bool:
        return amount * ALL_SHARES > shares(limit) * valued.total

    counted = sum(amount for amount in groups.values() if beyond(amount, limits.counted_above))
    single = tuple(name for name, amount in sorted(groups.items()) if beyond(amount, limits.single))
    return single, beyond(counted, limits.together)
