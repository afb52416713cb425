"""Decide whether an alert, or a person, opens a request for advice about a portfolio, and what the agent is told.
Pure.

A portfolio has one open request at a time: another reason joins it. A reason that opens none is recorded with why not,
once, and each later run looks at it again while its alert is open.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

from ledger.domain.case import Case
from ledger.domain.monitoring.arithmetic import EXACT
from ledger.domain.monitoring.drift import Judgement, is_worth_trading
from ledger.domain.monitoring.policy import MonitoringText
from ledger.domain.monitoring.portfolio import Definition, Portfolio, Watched
from ledger.domain.monitoring.valuation import Rates
from ledger.errors import InvalidEvent
from schema.events import PortfolioRequested
from schema.states import RecommendationState, RequestState

CURRENCY = "USD"
CENTS = Decimal("0.01")
MOST_AMOUNT = Decimal("999999999999.99")
# The assets that are named in the notes of a request: the ones that are farthest from their targets.
MOST_NAMED = 50
UNDECIDED = frozenset({RecommendationState.PROPOSED, RecommendationState.WAITING})


def is_open(case: Case) -> bool:
    """Return True if a request waits for its agent or for a decision about its recommendation."""
    if case.state is RequestState.RECOMMENDED:
        return case.recommendation is not None and case.recommendation.state in UNDECIDED
    return case.state is RequestState.QUEUED


def candidates(state: Portfolio, policy: MonitoringText) -> Iterator[Watched]:
    """Yield the open alerts whose rule asks for advice and that have none yet, the oldest first."""
    for watched in state.alerts.values():
        if watched.alert.is_open and watched.key[0] in policy.request_advice and not watched.has_advice:
            yield watched


def hindrance(judgement: Judgement, policy: MonitoringText, definition: Definition, rule: str) -> str | None:
    """Return why a run opens no request for this alert, whatever else is open; None if it may."""
    if definition.client_id is None:
        return "client-erased"
    if definition.risk_profile is None:
        return "no-risk-profile"
    if judgement.valuation is None:
        return "no-value"
    if rule == "drift" and not any(
        is_worth_trading(item, judgement.valuation, policy.minimum_trade) for item in judgement.assets
    ):
        return "minimum-trade"
    return None


def amount_usd(judgement: Judgement, rates: Rates, base: str) -> Decimal | None:
    """Return the value of a portfolio in dollars and cents; None if it is not known, or nothing to advise on."""
    rate = rates.between(base, CURRENCY)
    if judgement.valuation is None or rate is None:
        return None
    exact = Fraction(judgement.valuation.total, judgement.valuation.scale) * Fraction(*rate)
    with localcontext(EXACT):
        amount = Decimal(round(exact * 100)).scaleb(-2).quantize(CENTS, ROUND_HALF_EVEN)
    return amount if CENTS <= amount <= MOST_AMOUNT else None


def request(name: str, definition: Definition, amount: Decimal, notes: str, horizon: int | None) -> PortfolioRequested:
    """Return the request for advice about a portfolio. Raises InvalidEvent without a risk profile."""
    if definition.risk_profile is None:
        raise InvalidEvent("risk_profile", "the portfolio has none: define it again with one")
    return PortfolioRequested(
        client_id=definition.client_id or "",
        client=definition.client,
        risk_profile=definition.risk_profile,
        amount_usd=amount,
        horizon_years=horizon,
        notes=notes,
        portfolio=name,
    )


def notes(name: str, trigger: str, judgement: Judgement | None, as_of: str | None) -> str:
    """Return what the agent is told: why it is asked, and how far each asset is from its target."""
    lines = [f"Rebalancing of the portfolio {name}: {trigger}."]
    if judgement is None or as_of is None:
        return f"{lines[0]} No run has judged it yet."
    if judgement.valuation is None:
        unknown = ", ".join(f"{one.reason} {one.asset or ''}".strip() for one in judgement.unknown[:MOST_NAMED])
        return f"{lines[0]} As of {as_of} its weights are not known: {unknown}."
    rows = sorted(judgement.rows(), key=lambda row: (-abs(Decimal(row["drift"])), row["asset"]))
    lines.append(f"As of {as_of}, as shares of its value; turnover to the targets {judgement.turnover_one_way()}:")
    lines += [
        f"{row['asset']}: weight {row['weight']}, target {row['target']}, drift {row['drift']},"
        f" band {row['half_width']}, {row['condition']}"
        for row in rows[:MOST_NAMED]
    ]
    if len(rows) > MOST_NAMED:
        lines.append(f"and {len(rows) - MOST_NAMED} assets that are nearer to their targets")
    return "\n".join(lines)
