"""Apply corporate actions: compute what a unit of an asset on a day has become by the day of a run. Pure.

Prices are as they were traded, and holdings as of the end of a day. An action counts from its own day on:

    split      `new` units for `old` ones. Holdings and prices of earlier days are turned into those of today, so the
               value of a holding on the day of a split is what it was.
    renamed    the former identifier means the other one, in holdings, prices, targets and policies of any day.
    delisted   no later price counts. The value of a unit is the final price, if there is one, or else unknown.

On one day, splits come first, then new identifiers, then splits of those, and delistings last. The former identifier
ends on the day of the new one: its delisting on that day is no end of the asset. The last record about an asset, day
and kind counts, unless it takes the action back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from math import lcm
from typing import NamedTuple, TypeVar

from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.domain.monitoring.arithmetic import parts, parts_text
from ledger.domain.monitoring.policy import MonitoringText
from schema.events import CorporateActionRecorded, RecordAction

T = TypeVar("T")

STREAM = "corporate-actions"
ORDER = ("split", "renamed", "split again", "delisted")
MEMBERS = {"split": {"ratio"}, "renamed": {"to"}, "delisted": {"price", "currency"}}


class Become(NamedTuple):
    """The result of actions for a unit of an asset: so many units of another asset, or of the same."""

    asset: str
    units: Fraction = Fraction(1)


class FinalPrice(NamedTuple):
    """What is paid for a unit of a delisted asset."""

    amount: str
    currency: str


@dataclass(frozen=True)
class Actions:
    """The actions that count by the day of a run, in their order."""

    found: tuple[RecordAction, ...] = ()
    # The assets that have an action of their own.
    assets: frozenset[str] = frozenset()
    # Delisted assets, by the identifier that they had last, with what is paid for a unit.
    delisted: Mapping[str, FinalPrice | None] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Iterable[RecordedEvent], today: date) -> Actions:
        """Read the events of the stream."""
        counted = [one for one in newest(events).values() if not one.withdrawn and one.date <= today.isoformat()]
        found = _in_order(counted)
        actions = cls(found, frozenset(one.asset for one in found))
        return cls(found, actions.assets, {actions.name(one.asset): _final(one) for one in found if _ends(one)})

    def become(self, asset: str, day: str) -> Become:
        """Return what a unit of an asset as of the end of a day has become."""
        if asset not in self.assets:
            return Become(asset)
        units = Fraction(1)
        for action in self.found:
            if action.asset != asset:
                continue
            if action.ratio is not None and action.date > day:
                new, _, old = action.ratio.partition(":")
                units *= Fraction(int(new), int(old))
            asset = action.to or asset
        return Become(asset, units)

    def name(self, asset: str) -> str:
        """Return the present identifier of an asset."""
        return self.become(asset, "").asset

    def held(self, positions: Mapping[str, int | None], day: str) -> tuple[Mapping[str, int | None], int]:
        """Return quantities as of a day, in parts, as quantities of today, all of them times a whole number."""
        if not self.assets or self.assets.isdisjoint(positions):
            return positions, 1
        now = {asset: self.become(asset, day) for asset in positions}
        times = lcm(*(one.units.denominator for one in now.values()))
        found: dict[str, int | None] = {}
        for asset, quantity in positions.items():
            name, units = now[asset]
            known = found.setdefault(name, 0)
            found[name] = None if quantity is None or known is None else known + int(quantity * units * times)
        return found, times

    def weights(self, weights: Mapping[str, str]) -> Mapping[str, str]:
        """Return target weights under the identifiers of today."""
        if not self.assets or self.assets.isdisjoint(weights):
            return weights
        found: dict[str, str] = {}
        for asset, weight in weights.items():
            name = self.name(asset)
            found[name] = parts_text(parts(found[name]) + parts(weight)) if name in found else weight
        return found

    def policy(self, policy: MonitoringText) -> MonitoringText:
        """Return a policy under the identifiers of today."""
        if self.assets.isdisjoint({*policy.overrides, *policy.issuers, *policy.restricted}):
            return policy
        return policy.model_copy(
            update={
                "overrides": self._renamed(policy.overrides),
                "issuers": self._renamed(policy.issuers),
                "restricted": tuple(self.name(asset) for asset in policy.restricted),
            }
        )

    def _renamed(self, members: Mapping[str, T]) -> dict[str, T]:
        """Return the members under the present identifiers. A member of such an identifier itself has precedence."""
        return {self.name(asset): member for asset, member in members.items()} | {
            asset: member for asset, member in members.items() if self.name(asset) == asset
        }


NO_ACTIONS = Actions()


def _in_order(counted: Iterable[RecordAction]) -> tuple[RecordAction, ...]:
    """Return the actions in the order in which they take place, without those that only end a former identifier."""
    actions = list(counted)
    former = {(one.date, one.asset) for one in actions if one.to}
    became = {(one.date, one.to) for one in actions if one.to}

    def place(one: RecordAction) -> tuple[str, int, str]:
        again = one.action == "split" and (one.date, one.asset) in became
        return one.date, ORDER.index("split again" if again else one.action), one.asset

    return tuple(sorted((one for one in actions if not (_ends(one) and (one.date, one.asset) in former)), key=place))


def newest(events: Iterable[RecordedEvent]) -> dict[tuple[str, str, str], RecordAction]:
    """Return the last record about each asset, day and kind. An event that no client can send is passed over."""
    found: dict[tuple[str, str, str], RecordAction] = {}
    for event in events:
        with contextlib.suppress(*MALFORMED):
            action = CorporateActionRecorded.model_validate(event.data)
            if event.type == action.type and fault(action) is None:
                found[key(action)] = action
    return found


def key(action: RecordAction) -> tuple[str, str, str]:
    """Return the asset, day and kind of an action. Another record with the same key corrects it."""
    return action.asset, action.date, action.action


def fault(action: RecordAction) -> tuple[str, str] | None:
    """Return the member that does not fit the kind of action, and why; None if they all do."""
    known = {name for names in MEMBERS.values() for name in names if getattr(action, name) is not None}
    if surplus := sorted(known - MEMBERS[action.action]):
        return surplus[0], f"does not belong to the action {action.action}"
    if action.action == "delisted":
        return ("currency", "give both price and currency, or none of them") if len(known) == 1 else None
    if not known:
        [name] = MEMBERS[action.action]
        return name, f"the action {action.action} needs it"
    return ("to", "must be another asset") if action.to == action.asset else None


def crossed(actions: Iterable[RecordAction]) -> list[RecordAction]:
    """Return the actions by which an asset gets an identifier that meant another one: it would mean both on any day.

    An asset may get back one that it had. Those of one day count at once: none of them follows another.
    """
    renamed = sorted((one for one in actions if one.to and not one.withdrawn), key=lambda one: (one.date, one.asset))
    gone = {(one.date, one.asset) for one in renamed}
    became: dict[str, str] = {}
    found: list[RecordAction] = []
    for one in renamed:
        to = one.to or one.asset
        if (one.date, to) in gone or _last(became, to) not in {to, one.asset}:
            found.append(one)
            continue
        became.pop(to, None)
        became[one.asset] = to
    return found


def _last(became: Mapping[str, str], asset: str) -> str:
    while asset in became:
        asset = became[asset]
    return asset


def _ends(action: RecordAction) -> bool:
    return action.action == "delisted"


def _final(action: RecordAction) -> FinalPrice | None:
    if action.price is None or action.currency is None:
        return None
    return FinalPrice(action.price, action.currency)
