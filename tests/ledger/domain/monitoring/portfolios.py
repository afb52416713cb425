"""Portfolios and policies of the tests of monitoring."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson

from ledger.domain.monitoring.arithmetic import parts
from ledger.domain.monitoring.drift import EdgesOf, Judgement, Plan, judge, targets
from ledger.domain.monitoring.policy import MonitoringText
from ledger.domain.monitoring.valuation import Price, Rates, UnitValues, value

ABSOLUTE = {"absolute": "0.05"}
MIXED = {"absolute": "0.05", "relative": "0.25"}


def policy(**members: Any) -> MonitoringText:
    """Return a policy: bands of 5 points, and 2 points for a holding without a target, unless `members` say more."""
    text = {"name": "test", "version": "1", "band": ABSOLUTE, "unlisted": "0.02", **members}
    return MonitoringText.model_validate_json(orjson.dumps(text))


def judged(
    holdings: str, weights: str, text: MonitoringText, base: str = "USD", rates: Rates | None = None
) -> Judgement:
    """Judge holdings such as "EQ 600x100 BD 400x100": a quantity and a price; a third part is the price's currency."""
    quantities: dict[str, int | None] = {}
    prices: dict[str, Price] = {}
    words = holdings.split()
    for asset, amounts in zip(words[::2], words[1::2], strict=True):
        quantity, price, *currency = amounts.split("x")
        quantities[asset] = parts(quantity)
        prices[asset] = Price(Decimal(price), currency[0] if currency else base)
    names = weights.split()
    target = targets(dict(zip(names[::2], names[1::2], strict=True)))
    units = UnitValues(prices, rates or Rates(base), base, 0)
    return judge(value(quantities, units), Plan.of(target, EdgesOf(text)))
