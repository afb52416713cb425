"""The quarters of the price history, and how far the stocks fell in each: what the demo's calendar is made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from api.agents.optimiser import prices
from api.agents.optimiser.agent import ASSETS

# What markets call a correction.
CORRECTION = 0.10


@dataclass(frozen=True)
class Quarter:
    """One quarter with prices. `known` is the last day before it, `last` the last day in it.

    `fall` is how far the twenty stocks, equally weighted, closed below their highest close of the quarter so far.
    """

    name: str
    known: date
    last: date
    fall: float

    @property
    def fell(self) -> bool:
        """Whether there was a correction."""
        return self.fall >= CORRECTION


def quarters(count: int) -> list[Quarter]:
    """The last so many quarters of the data, the oldest first. Raises MissingExtra, and ValueError for too many."""
    end = prices.last_date()
    first_month = 3 * ((end.month - 1) // 3) + 1
    start = date(end.year, first_month, 1)
    found = []
    for _ in range(count):
        found.append(_quarter(start, end))
        end = start - timedelta(days=1)
        start = date(end.year, end.month - 2, 1)
    return found[::-1]


def _quarter(start: date, end: date) -> Quarter:
    before = prices.window(start - timedelta(days=1), ASSETS)
    table = prices.window(end, ASSETS).prices
    inside = table.loc[before.last.isoformat() :]
    index = inside.pct_change().fillna(0).mean(axis="columns").add(1).cumprod()
    fall = float((1 - index / index.cummax()).max())
    return Quarter(f"{start.year} Q{(start.month + 2) // 3}", before.last, index.index[-1].date(), fall)
