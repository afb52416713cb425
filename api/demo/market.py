"""Define the demo's calendar: the quarters and weeks of the price history, with the fall of the stocks in each
quarter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from api.agents.optimiser import prices
from api.agents.optimiser.agent import ASSETS

# A fall by this much is called a correction.
CORRECTION = 0.10


@dataclass(frozen=True)
class Quarter:
    """One quarter with prices. `known` is the last trading day before it, `last` the last one in it.

    `fall` is the largest fall of the twenty stocks, equally weighted, below their highest close in the quarter so far.
    """

    name: str
    known: date
    last: date
    fall: float

    @property
    def had_correction(self) -> bool:
        """Return True if there was a correction."""
        return self.fall >= CORRECTION


def quarters(count: int) -> list[Quarter]:
    """Return the last `count` quarters, the oldest first. Raises MissingExtra, or ValueError if too many."""
    end = prices.last_date()
    first_month = 3 * ((end.month - 1) // 3) + 1
    start = date(end.year, first_month, 1)
    newest_first = []
    for _ in range(count):
        newest_first.append(_quarter(start, end))
        end = start - timedelta(days=1)
        start = date(end.year, end.month - 2, 1)
    return newest_first[::-1]


@dataclass(frozen=True)
class Week:
    """The last trading day of a week, with the closing prices of the twenty stocks, and the name of its quarter."""

    day: date
    quarter: str
    prices: dict[str, Decimal]


def weeks(periods: Sequence[Quarter]) -> list[Week]:
    """Return the weeks of these quarters, which follow one another. Raises MissingExtra."""
    table = prices.load_table().iloc[:, :ASSETS]
    inside = table.loc[(periods[0].known + timedelta(days=1)).isoformat() : periods[-1].last.isoformat()]
    last_days = {day.date().isocalendar()[:2]: day for day in inside.index}
    return [
        Week(day.date(), _name(day.date()), {name: Decimal(f"{price:.4f}") for name, price in table.loc[day].items()})
        for day in last_days.values()
    ]


def _name(day: date) -> str:
    return f"{day.year} Q{(day.month + 2) // 3}"


def _quarter(start: date, end: date) -> Quarter:
    before = prices.window(start - timedelta(days=1), ASSETS)
    table = prices.window(end, ASSETS).prices
    inside = table.loc[before.last.isoformat() :]
    index = inside.pct_change().fillna(0).mean(axis="columns").add(1).cumprod()
    fall = float((1 - index / index.cummax()).max())
    return Quarter(_name(start), before.last, index.index[-1].date(), fall)
