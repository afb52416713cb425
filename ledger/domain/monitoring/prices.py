"""The prices that a run judges by: of each asset the newest one up to the run's day.

The age of a price counts the days of its source since then on which the source had prices. A price is doubtful if it
differs by the policy's factor from the last one that was not doubtful, unless a person has accepted it. Prices before
a corporate action are turned into those of today first, so that a split that is on record makes no price doubtful.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.domain.monitoring.actions import NO_ACTIONS, Actions, FinalPrice
from ledger.domain.monitoring.arithmetic import EXACT
from ledger.domain.monitoring.policy import MonitoringText
from ledger.domain.monitoring.valuation import ONE, Price, Rates

# A source with prices on one day in a month has no price that is too old to be found.
SPARSE_DAYS = 31
AMOUNT = re.compile(r"[0-9]{1,16}(\.[0-9]{1,12})?", re.ASCII)


class Quote(NamedTuple):
    """One price of a day, as it was recorded last."""

    day: str
    source: str
    amount: Decimal
    currency: str
    accepted: bool
    # The units of today that it is for.
    units: Fraction = ONE


class OneFile(NamedTuple):
    """The prices and rates of one event."""

    day: str
    quotes: Mapping[str, Quote]
    rates: Mapping[str, Decimal]


@dataclass
class Market:
    """All prices and rates of the days that a run looks at, each day's newest record."""

    quotes: dict[str, dict[str, Quote]] = field(default_factory=dict)
    # By source, the days on which it had prices.
    days: dict[str, set[str]] = field(default_factory=dict)
    rates: dict[tuple[str, str], tuple[str, Decimal]] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Iterable[OneFile]) -> Market:
        """Return the market of days in any order of days; the files of one day in the order of versions."""
        market = cls()
        for file in files:
            market._add(*file)
        return market

    def _add(self, day: str, quotes: Mapping[str, Quote], rates: Mapping[str, Decimal]) -> None:
        for asset, quote in quotes.items():
            self.days.setdefault(quote.source, set()).add(day)
            self.quotes.setdefault(asset, {})[day] = quote
        for pair, rate in rates.items():
            first, _, second = pair.partition("/")
            known = self.rates.get((first, second))
            if known is None or known[0] <= day:
                self.rates[first, second] = (day, rate)

    def prices(self, policy: MonitoringText, today: date, actions: Actions = NO_ACTIONS) -> dict[str, Price]:
        """Return the price of each asset under a policy; an asset without one that is new enough is left out."""
        earliest = (today - timedelta(days=looks_back(policy))).isoformat()
        found: dict[str, Price] = {}
        for asset, by_day in self._of_today(actions).items():
            quotes = [by_day[day] for day in sorted(by_day) if day >= earliest]
            if not quotes:
                continue
            newest = quotes[-1]
            age = sum(day > newest.day for day in self.days[newest.source])
            doubtful = _is_doubtful(quotes, policy.doubtful_factor)
            found[asset] = Price(newest.amount, newest.currency, age, doubtful, units=newest.units)
        return found | {asset: _last_price(final) for asset, final in actions.delisted.items()}

    def _of_today(self, actions: Actions) -> Mapping[str, Mapping[str, Quote]]:
        """Return the prices by the identifiers that assets have by now. A price under that identifier goes first."""
        touched = actions.assets & self.quotes.keys()
        if not touched:
            return self.quotes
        found = {asset: dict(by_day) for asset, by_day in self.quotes.items() if asset not in touched}
        for asset in sorted(touched):
            for day, quote in self.quotes[asset].items():
                name, units = actions.become(asset, day)
                known = found.setdefault(name, {})
                if name == asset or day not in known:
                    known[day] = quote._replace(units=units)
        return found

    def rates_of(self, policy: MonitoringText, today: date) -> Rates:
        """Return the newest rate of each pair, unless it is older than a policy looks back."""
        earliest = (today - timedelta(days=looks_back(policy))).isoformat()
        return Rates(policy.pivot, {pair: rate for pair, (day, rate) in self.rates.items() if day >= earliest})


def read_file(event: RecordedEvent) -> OneFile | None:
    """Return the prices and rates of an event; None of one that no client can send."""
    with contextlib.suppress(*MALFORMED):
        return _read(event.data)
    return None


def _read(data: Mapping[str, Any]) -> OneFile:
    """Return the day, the prices and the rates. Raises one of MALFORMED."""
    day, source = date.fromisoformat(data["date"]).isoformat(), str(data["source"])
    prices, rates = data.get("prices") or {}, data.get("rates") or {}
    quotes = {
        asset: Quote(day, source, _amount(price["price"]), str(price["currency"]), bool(price.get("accepted")))
        for asset, price in prices.items()
    }
    return OneFile(day, quotes, {pair: _amount(rate) for pair, rate in rates.items()})


def _amount(text: str) -> Decimal:
    """Return a price or rate. Raises ValueError for what is no plain number."""
    if not AMOUNT.fullmatch(text):
        raise ValueError(text)
    return Decimal(text)


def looks_back(policy: MonitoringText) -> int:
    """Return how many days back a price may be, whatever its source: one of an older day is not there."""
    return SPARSE_DAYS + 2 * policy.stale_after_days


def days_until(today: date, back: int) -> list[str]:
    """Return the days from `back` days before `today` to `today`."""
    return [(today - timedelta(days=ago)).isoformat() for ago in range(back, -1, -1)]


def _is_doubtful(quotes: list[Quote], factor: Decimal) -> bool:
    amounts, first = [quote.amount for quote in quotes], quotes[0]
    alike = all(quote.currency == first.currency and quote.units is first.units for quote in quotes)
    if alike and max(amounts) < EXACT.multiply(factor, min(amounts)):
        return False  # no two of them are that far apart: so it is with nearly all assets
    trusted: Quote | None = None
    doubtful = False
    for quote in quotes:
        doubtful = trusted is not None and not quote.accepted and _jumps(trusted, quote, factor)
        trusted = trusted if doubtful else quote
    return doubtful


def _jumps(before: Quote, now: Quote, factor: Decimal) -> bool:
    if before.currency != now.currency:
        return True
    if before.units is not now.units:
        one, other = Fraction(before.amount) / before.units, Fraction(now.amount) / now.units
        return one != other and max(one, other) >= Fraction(factor) * min(one, other)
    if before.amount == now.amount:
        return False
    larger, smaller = max(before.amount, now.amount), min(before.amount, now.amount)
    return larger >= EXACT.multiply(factor, smaller)


def _last_price(final: FinalPrice | None) -> Price:
    """Return what a delisted asset is worth, on any later day."""
    if final is None:
        return Price(Decimal(0), "", delisted=True)
    return Price(Decimal(final.amount), final.currency)
