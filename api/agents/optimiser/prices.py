"""Read the optimiser's price history: twenty stocks of the S&P 500, 1990 to 2022, from skfolio's wheel.

Nothing is downloaded: the file is part of the installed package. A table is identified by the SHA-256 of its CSV text:
a line of column names, then a line per day, each number in its shortest exact form.
"""

import hashlib
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from api.extras import needs_extra

WINDOW = 504
"""Number of daily returns in a window: two years of trading."""


@dataclass(frozen=True)
class Window:
    """The closing prices known at a date, one more than WINDOW returns. `prices` is a pandas DataFrame."""

    prices: Any
    first: date
    last: date
    sha256: str


@lru_cache(maxsize=1)
def load_table() -> Any:
    """Load all prices as a DataFrame. Raises MissingExtra."""
    with needs_extra("advice-ledger[optimise]"):
        from skfolio.datasets import load_sp500_dataset  # type: ignore[import-untyped]  # noqa: PLC0415
    return load_sp500_dataset().sort_index(axis="columns")


@lru_cache(maxsize=1)
def table_sha256() -> str:
    """Return the SHA-256 of the whole table. Raises MissingExtra."""
    return _digest(load_table())


def last_date() -> date:
    """Return the last day of the table. Raises MissingExtra."""
    last: date = load_table().index[-1].date()
    return last


@lru_cache(maxsize=256)
def window(until: date, assets: int) -> Window:
    """Return the last prices up to and including `until`, of the first `assets` stocks by symbol.

    Raises ValueError if the table lacks the days or the stocks, MissingExtra without the extra.
    """
    table = load_table()
    if not 2 <= assets <= table.shape[1]:
        raise ValueError(f"the number of assets is not between 2 and {table.shape[1]}")
    prices = table.loc[: until.isoformat()].iloc[-WINDOW - 1 :, :assets]
    if len(prices) <= WINDOW:
        raise ValueError(f"until is too early: the first date with {WINDOW} returns is {table.index[WINDOW].date()}")
    return Window(prices, prices.index[0].date(), prices.index[-1].date(), _digest(prices))


def _digest(prices: Any) -> str:
    text = prices.to_csv(date_format="%Y-%m-%d", lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()
