"""Decide whether somebody is told of an alert now, later or not at all.

A change of an alert (opened, a higher step, closed) is decided once. If quiet hours, a silence or a cool-down forbid
to tell now, it is decided again when they end, on the alert as it is then. A breach that continues is told once; one
that is over is recorded as withheld. The receivers who were told that an alert opened are told that it closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ledger.domain.monitoring.alerts import Alert
from schema.states import AlertState

Hindrance = Literal["quiet-hours", "silenced", "cool-down", "told-lately"]
Withheld = Literal["quiet-hours", "silenced", "cool-down", "told-lately", "acknowledged"]


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell now."""

    about: Literal["opened", "closed"]


@dataclass(frozen=True, slots=True)
class Wait:
    """Nobody is told before `until`; then it is decided again."""

    reason: Hindrance
    until: datetime


@dataclass(frozen=True, slots=True)
class Withhold:
    """Nobody is told, for good, because the alert has changed."""

    reason: Withheld


@dataclass(frozen=True, slots=True)
class Hindrances:
    """Until when each of them lasts; None where it is not in force. A time that is over does not hinder."""

    quiet_until: datetime | None = None
    silenced_until: datetime | None = None
    cool_down_until: datetime | None = None
    # Somebody was told that another alert of the portfolio opened, and the policy says how often that may be.
    told_lately_until: datetime | None = None

    def last(self, now: datetime) -> Wait | None:
        """Return the one that ends last, or None if nothing hinders. At its end nothing does."""
        names: tuple[tuple[Hindrance, datetime | None], ...] = (
            ("told-lately", self.told_lately_until),
            ("cool-down", self.cool_down_until),
            ("silenced", self.silenced_until),
            ("quiet-hours", self.quiet_until),
        )
        waits = [Wait(name, until) for name, until in names if until is not None and until > now]
        return max(waits, key=lambda wait: wait.until, default=None)


Decision = Tell | Wait | Withhold | None


def decide(alert: Alert, told_step: int, waited: Hindrance | None, hindrances: Hindrances, now: datetime) -> Decision:
    """Decide about the newest state of an alert; None if there is nothing to decide.

    `told_step` is the highest step that was told, 0 if nobody was told that it opened. `waited` is the hindrance that
    the newest decision waited for, None if it did not wait. A closed alert is told or withheld once: the caller does
    not ask again.
    """
    if not alert.is_open:
        if told_step == 0:
            return None if waited is None else Withhold(waited)
        return hindrances.last(now) or Tell("closed")
    if alert.step <= told_step:
        return None
    if alert.state is not AlertState.OPEN:
        return Withhold("acknowledged")
    return hindrances.last(now) or Tell("opened")
