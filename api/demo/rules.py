"""Decide for the demo's people: rules with seeded chance, so that every run decides the same.

The rules are invented. They replace human judgement so that the ledger has data to show; they are not advice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from random import Random
from typing import Any, Literal

from advice_ledger_client import Outcome

from api.agents.house_policy import CASH, EXACT, ONE, ZERO
from api.agents.limits import CENT, WEIGHT_UNIT, apportion
from api.demo.clients import Client
from api.demo.market import Quarter
from ledger.domain.four_eyes import parts

# Largest weight of one stock.
HOUSE_LIMIT = Decimal("0.1000")
TO_CASH = Decimal("0.0500")
# Probabilities of decisions; all others approve.
PREFERENCE, REMARK, WITHDREW = 0.06, 0.04, 0.02
MAX_REJECTED = 0.9
DECLINED = 0.10
UNOPENED = 0.25
STOCKS_EXCLUDED = 0.02
Channel = Literal["meeting", "phone", "video", "letter", "email", "portal"]
CHANNELS: tuple[Channel, ...] = ("meeting", "phone", "video", "letter", "email", "portal")


@dataclass(frozen=True)
class Judgement:
    """A decision to send: its outcome and its other members."""

    outcome: Outcome
    members: dict[str, Any] = field(default_factory=dict)


APPROVE = Judgement("approve")
AFTER_DECLINE = Judgement(
    "reject", {"reason_code": "house-view", "rationale": "Compliance wants to talk to the client first."}
)


def random_for(seed: str, client: Client, quarter: Quarter) -> Random:
    """Return a generator for one client's quarter that does not depend on the order of the reviews."""
    return Random(f"{seed}/{client.name}/{quarter.name}")  # noqa: S311 - no secret


def judge(client: Client, quarter: Quarter, amount_usd: Decimal, answer: dict[str, Any], chance: Random) -> Judgement:
    """Decide on an agent's first answer."""
    market, other = chance.random(), chance.random()
    if quarter.had_correction and client.profile != "conservative" and market < min(MAX_REJECTED, 2 * quarter.fall):
        return _reject("market-event", f"Stocks fell by {quarter.fall:.0%} after its prices end, on {quarter.known}.")
    if limited := concentration(answer, amount_usd):
        return limited
    if other < PREFERENCE:
        changed = more_cash(answer, amount_usd)
        return _edit("client-preference", "The client wants more cash than requested.", changed)
    if other < PREFERENCE + REMARK:
        return Judgement("respond", {"response": "Please explain how this differs from the current holdings."})
    if other < PREFERENCE + REMARK + WITHDREW:
        return _reject("client-withdrew", "The client decides next quarter.")
    return APPROVE


def concentration(answer: dict[str, Any], amount_usd: Decimal) -> Judgement | None:
    """Return the edit that brings an answer within the house limit, or None if it is already within it."""
    limited = house_limit(answer, amount_usd)
    why = f"The house holds at most {HOUSE_LIMIT:.0%} in one stock."
    return None if limited is None else _edit("model-concentration", why, limited)


def house_limit(answer: dict[str, Any], amount_usd: Decimal) -> dict[str, Any] | None:
    """Return the answer with the excess above the limit spread evenly; None if no stock is above it."""
    stocks = {row["asset"]: Decimal(row["weight"]) for row in answer["allocations"] if row.get("asset", CASH) != CASH}
    if all(weight <= HOUSE_LIMIT for weight in stocks.values()):
        return None
    with localcontext(EXACT):
        kept = {name: min(weight, HOUSE_LIMIT) for name, weight in stocks.items()}
        left = sum(stocks.values(), ZERO) - sum(kept.values(), ZERO)
        while left and (open_ := {name: ONE for name, weight in kept.items() if weight < HOUSE_LIMIT}):
            for name, more in apportion(left, open_, WEIGHT_UNIT).items():
                added = min(more, HOUSE_LIMIT - kept[name])
                kept[name] += added
                left -= added
        weights = parts(answer) or {}
        return _changed(answer, {**weights, **kept, CASH: weights[CASH] + left}, amount_usd)


def more_cash(answer: dict[str, Any], amount_usd: Decimal) -> dict[str, Any]:
    """Return the answer with a twentieth of the money moved from its largest part to cash."""
    with localcontext(EXACT):
        weights = dict(parts(answer) or {})
        largest = max((name for name in weights if name != CASH), key=lambda name: weights[name])
        moved = min(TO_CASH, weights[largest])
        weights[largest] -= moved
        weights[CASH] = weights.get(CASH, ZERO) + moved
        return _changed(answer, weights, amount_usd)


def _changed(answer: dict[str, Any], weights: dict[str, Decimal], amount_usd: Decimal) -> dict[str, Any]:
    amounts = apportion(amount_usd, weights, CENT)
    kind = "asset" if "asset" in answer["allocations"][0] else "asset_class"
    return {
        "kind": answer["kind"],
        "allocations": [
            {kind: name, "weight": f"{weight:.4f}", "amount_usd": f"{amounts[name]:.2f}"}
            for name, weight in weights.items()
        ],
    }


def _reject(code: str, why: str) -> Judgement:
    return Judgement("reject", {"reason_code": code, "rationale": why})


def _edit(code: str, why: str, replacement: dict[str, Any]) -> Judgement:
    return Judgement("edit", {"reason_code": code, "rationale": why, "replacement": replacement})
