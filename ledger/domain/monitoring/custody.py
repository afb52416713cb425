"""Use ready valuations of a custodian: the values of a portfolio's holdings, which need no prices. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.domain.monitoring.actions import Actions
from ledger.domain.monitoring.arithmetic import WHOLE, parts
from ledger.domain.monitoring.valuation import SCALE, Rates, Unknown, Valuation

VALUATION = "valuation-"
RECEIVED = "valuations-"


@dataclass(frozen=True)
class Ready:
    """A valuation as of the end of a day. `values` are amounts in parts, by asset; None if they were erased."""

    day: str
    source: str
    currency: str
    values: Mapping[str, int] | None


@dataclass(frozen=True)
class Custody:
    """The newest valuation of each portfolio up to a day, and by source the days on which it sent some."""

    ready: Mapping[str, Ready] = field(default_factory=dict)
    days: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def age(self, ready: Ready) -> int:
        """Return the number of later days on which the source has sent valuations, for any portfolio."""
        return sum(day > ready.day for day in self.days.get(ready.source, ()))


NO_CUSTODY = Custody()


def ready_of(event: RecordedEvent) -> Ready:
    """Return a recorded valuation."""
    values = None
    with contextlib.suppress(*MALFORMED):
        values = {asset: parts(amount) for asset, amount in event.fields["values"].items()}
    data = event.data
    return Ready(str(data.get("as_of")), str(data.get("source")), str(data.get("currency")), values)


def valued(
    ready: Ready, age: int, stale_after_days: int, base: str, rates: Rates, actions: Actions
) -> Valuation | tuple[Unknown, ...]:
    """Return the values in the base currency, or the reasons for which they are unknown."""
    if ready.values is None:
        return (Unknown("no-quantity", None),)
    if age > stale_after_days:
        return (Unknown("stale-valuation", None),)
    rate = rates.between(ready.currency, base)
    if rate is None:
        return (Unknown("no-rate", None),)
    found: dict[str, int] = {}
    for asset, amount in ready.values.items():
        name = actions.name(asset)
        found[name] = found.get(name, 0) + amount * rate[0] * WHOLE * WHOLE
    total = sum(found.values())
    return Valuation(found, total, SCALE * rate[1]) if total > 0 else (Unknown("no-value", None),)
