"""Notices of Article 62(1) of Regulation (EU) 2017/565: the value of a managed portfolio fell by 10 %, 20 % and so on.

    step = floor(10 * (base - value) / base)

The base is the value at the start of the reporting period, for each step of that period (ESMA QA 1807). At exactly
90,000 of 100,000 the step is 1. A notice is due when the step is above the highest one told in the period, so the same
threshold crossed again gives none (QA 1812), and a fall over two steps gives one notice that names the higher. Cash
that was added and not invested is taken off the value; securities and invested cash are added to the base (QA 1804).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ledger.domain.monitoring.arithmetic import EXACT

TEN = Decimal(10)


@dataclass(frozen=True, slots=True)
class Period:
    """A reporting period: its base, and the highest step that was told in it."""

    base: Decimal
    told: int = 0

    def adding_securities(self, amount: Decimal) -> Period:
        """Return the period after securities, or cash that was invested, were added."""
        return Period(EXACT.add(self.base, amount), self.told)


def step(base: Decimal, value: Decimal, cash_added: Decimal = Decimal(0)) -> int:
    """Return how many tenths of the base are lost, 0 to 10 or more. `base` is above zero."""
    lost = EXACT.subtract(base, EXACT.subtract(value, cash_added))
    return max(0, int(EXACT.divide_int(EXACT.multiply(TEN, lost), base)))


def notice(period: Period, value: Decimal, cash_added: Decimal = Decimal(0)) -> tuple[int | None, Period]:
    """Return the step to tell of, or None, and the period after it."""
    reached = step(period.base, value, cash_added)
    if reached <= period.told:
        return None, period
    return reached, Period(period.base, reached)
