"""Compute the value of each holding of a portfolio in its base currency, or the reason for which it is unknown.

    value = quantity * price * rate

A rate `source -> target` says how much of `target` one unit of `source` is. There is one rate for a pair. The inverse
of a recorded rate is a division, and a rate between two other currencies goes through the one pivot. So a rate is a
pair of whole numbers, numerator and denominator, and no quotient is taken: the values of a portfolio are whole numbers,
all multiplied by one `scale`. Each rule compares values with each other, so the scale does not matter.

A missing price or rate makes the value unknown. It is never 0 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Literal, NamedTuple

from ledger.domain.monitoring.arithmetic import WHOLE, parts

# Minor units are hundredths of their currency, fixed and not by a rate: a price in pence is a price.
MINOR_UNITS = {"GBX": "GBP", "GBp": "GBP", "ILA": "ILS", "ZAc": "ZAR"}
# Of a quantity times a price, both in parts, in parts again.
SCALE = WHOLE * WHOLE * WHOLE
ONE = Fraction(1)

Reason = Literal[
    "no-price",
    "stale-price",
    "doubtful-price",
    "delisted",
    "stale-valuation",
    "no-rate",
    "no-quantity",
    "no-value",
]


@dataclass(frozen=True, slots=True)
class Unknown:
    """The reason for which a portfolio has no condition. `asset` is None if the whole portfolio has no value."""

    reason: Reason
    asset: str | None


@dataclass(frozen=True, slots=True)
class Price:
    """A price as it was traded. `age` counts the days of its source since then on which the source had prices."""

    amount: Decimal
    currency: str
    age: int = 0
    # It jumped beyond the policy's factor without a corporate action, and nobody has accepted or corrected it.
    doubtful: bool = False
    # The asset is delisted, and nobody has said what is paid for it.
    delisted: bool = False
    # The units of today that the price is for: more than one after a split.
    units: Fraction = ONE


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates of one day. A pair is recorded in one direction; `pivot` is the only currency that others meet in."""

    pivot: str
    recorded: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)

    def between(self, source: str, target: str) -> tuple[int, int] | None:
        """Return a rate as numerator and denominator; None without one."""
        numerator = 100 if target in MINOR_UNITS else 1
        denominator = 100 if source in MINOR_UNITS else 1
        source, target = MINOR_UNITS.get(source, source), MINOR_UNITS.get(target, target)
        if source == target:
            return numerator, denominator
        rate = self._pair(source, target)
        if rate is None:
            first, second = self._pair(source, self.pivot), self._pair(self.pivot, target)
            if first is None or second is None or self.pivot in {source, target}:
                return None
            rate = first[0] * second[0], first[1] * second[1]
        return numerator * rate[0], denominator * rate[1]

    def _pair(self, source: str, target: str) -> tuple[int, int] | None:
        rate = self.recorded.get((source, target))
        if rate is not None:
            return rate.as_integer_ratio()
        inverse = self.recorded.get((target, source))
        if inverse is None:
            return None
        numerator, denominator = inverse.as_integer_ratio()
        return denominator, numerator


class UnitValue(NamedTuple):
    """The value of one piece of an asset: numerator / denominator, times the scale of prices. Or why there is none."""

    numerator: int
    denominator: int
    fault: Reason | None = None


class UnitValues(dict[str, UnitValue]):
    """The values of one piece of each asset in one base currency. Each is computed when it is first looked up."""

    def __init__(self, prices: Mapping[str, Price], rates: Rates, base: str, stale_after_days: int) -> None:
        super().__init__()
        self._prices, self._rates, self._base, self._stale_after = prices, rates, base, stale_after_days
        self._known: dict[str, tuple[int, int] | None] = {}

    def __missing__(self, asset: str) -> UnitValue:
        found = self[asset] = self._value(self._prices.get(asset))
        return found

    def _value(self, price: Price | None) -> UnitValue:
        if price is None:
            return UnitValue(0, 1, "no-price")
        if (fault := self._fault(price)) is not None:
            return UnitValue(0, 1, fault)
        if price.currency not in self._known:
            self._known[price.currency] = self._rates.between(price.currency, self._base)
        rate = self._known[price.currency]
        if rate is None:
            return UnitValue(0, 1, "no-rate")
        numerator, denominator = parts(f"{price.amount:f}") * rate[0] * WHOLE, rate[1]
        if price.units is ONE:
            return UnitValue(numerator, denominator)
        return UnitValue(numerator * price.units.denominator, denominator * price.units.numerator)

    def _fault(self, price: Price) -> Reason | None:
        if price.delisted:
            return "delisted"
        if price.doubtful:
            return "doubtful-price"
        return "stale-price" if price.age > self._stale_after else None


@dataclass(frozen=True, slots=True)
class Valuation:
    """The values of a portfolio's assets, each multiplied by `scale`, which is above zero. `total` is their sum.

    All three are multiples of `WHOLE`, so a weight in parts times the total is a whole number.
    """

    values: Mapping[str, int]
    total: int
    scale: int


def value(holdings: Mapping[str, int | None], units: UnitValues, times: int = 1) -> Valuation | tuple[Unknown, ...]:
    """Value a portfolio, or return each reason why it cannot be valued, by asset.

    `holdings` are quantities in parts, by asset, all of them times a whole number; None if one is not known. A total of
    0 or less has no weights, so it is unknown too.
    """
    values: dict[str, int] = {}
    denominators: set[int] = set()
    unknown: list[Unknown] = []
    for asset, quantity in holdings.items():
        numerator, denominator, fault = units[asset]
        if quantity is None:
            unknown.append(Unknown("no-quantity", asset))
        elif fault is not None:
            unknown.append(Unknown(fault, asset))
        else:
            values[asset] = quantity * numerator
            denominators.add(denominator)
    if unknown:
        return tuple(sorted(unknown, key=lambda one: one.asset or ""))
    common = math.lcm(*denominators)
    if len(denominators) > 1:
        values = {asset: amount * (common // units[asset].denominator) for asset, amount in values.items()}
    total = sum(values.values())
    return Valuation(values, total, SCALE * common * times) if total > 0 else (Unknown("no-value", None),)
