"""Alerts that nobody acknowledges in time go to the next person: one level for each time of the policy. Pure.

The times count from when the alert was recorded, by the clock of the database: they are about people, and not about
the day that was judged. Each level is recorded once, under an id that follows from the alert and the level.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from ledger.domain.monitoring.calendar import quiet_until, zone_named
from ledger.domain.monitoring.policy import MonitoringText
from ledger.domain.monitoring.portfolio import Portfolio, Watched
from schema.events import AlertEscalated
from schema.states import AlertState

ID = b"advice-ledger/monitoring-escalation/v1\n"


def escalations(state: Portfolio, policy: MonitoringText, now: datetime) -> Iterator[tuple[Watched, AlertEscalated]]:
    """Yield each level that an alert has reached and that is not recorded, the lowest first.

    Nothing escalates in quiet hours: what is due then escalates at their end. An alert that is silenced waits, and so
    does any alert but the one about data while the portfolio's condition is unknown.
    """
    hours = policy.quiet_hours
    if hours is not None and quiet_until(now, hours.start, hours.end, zone_named(hours.zone)) is not None:
        return
    unknown = any(one.alert.is_open and one.key == ("data", None) for one in state.alerts.values())
    for watched in state.alerts.values():
        if not _may_escalate(watched, now) or (unknown and watched.key[0] != "data"):
            continue
        waited = now - watched.recorded_at if watched.recorded_at is not None else timedelta(0)
        for level, after in enumerate(policy.escalate_after_hours, 1):
            if level > watched.level and waited >= timedelta(hours=after):
                yield watched, AlertEscalated(alert=watched.number, level=level, after_hours=after)


def _may_escalate(watched: Watched, now: datetime) -> bool:
    silenced = watched.silenced_until is not None and watched.silenced_until > now
    return watched.alert.state is AlertState.OPEN and not silenced


def escalation_id(portfolio: str, event: AlertEscalated) -> UUID:
    """Return the id of an escalation: the same whoever records it (version 8, RFC 9562 section 5.8)."""
    digest = int.from_bytes(sha256(ID + f"{portfolio}\n{event.alert}\n{event.level}".encode()).digest()[:16])
    return UUID(int=(digest & ~(0xF << 76) & ~(0b11 << 62)) | (0x8 << 76) | (0b10 << 62))
