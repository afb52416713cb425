"""One portfolio in a run: judge it, change its alerts, and decide whom to tell. Pure.

The judgement depends on what was recorded up to the run's position and on its as-of time alone, so it can be computed
again, bit for bit. The alerts are those at the time when the run
records them, as people may act meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import sha256
from itertools import chain
from typing import Literal
from uuid import UUID

from ledger.domain.monitoring.actions import NO_ACTIONS, Actions
from ledger.domain.monitoring.alerts import Alert, Finding, after_policy, after_run
from ledger.domain.monitoring.calendar import quiet_until, zone_named
from ledger.domain.monitoring.custody import Ready, valued
from ledger.domain.monitoring.drift import Judgement, Plan, Plans, judge
from ledger.domain.monitoring.policy import MonitoringText, Receivers
from ledger.domain.monitoring.portfolio import Key, Portfolio, Watched
from ledger.domain.monitoring.rules import findings
from ledger.domain.monitoring.telling import Hindrances, Tell, Wait, decide
from ledger.domain.monitoring.triggers import FLOWS_UNREAD, NO_FACTS, Facts, triggers
from ledger.domain.monitoring.valuation import Price, Rates, UnitValues, Unknown, value
from ledger.errors import Refused
from schema.events import AlertClosed, AlertRaised, Event, NotificationDecided

MOST_PORTFOLIOS = 20_000
TRANSITION = b"advice-ledger/monitoring-transition/v1\n"
RECEIVERS: Mapping[Receivers, list[Literal["advisor", "client"]]] = {
    "advisor": ["advisor"],
    "client": ["client"],
    "both": ["advisor", "client"],
    "nobody": [],
}


@dataclass(frozen=True, slots=True)
class Run:
    """A run: its number, its as-of time, and whether that was long over. `before`: the as-of time of the run before."""

    number: int
    as_of: datetime
    position: int
    historical: bool
    before: datetime | None = None
    # The position that the run before has judged up to.
    after: int = 0

    @classmethod
    def of(
        cls, number: int, as_of: str, position: int, *, historical: bool, before: str | None = None, after: int = 0
    ) -> Run:
        """Return the run that was recorded so."""
        earlier = None if before is None else datetime.fromisoformat(before)
        return cls(number, datetime.fromisoformat(as_of), position, historical, earlier, after)

    @property
    def at(self) -> str:
        """The as-of time as events have it."""
        return second(self.as_of)


@dataclass(frozen=True)
class Conditions:
    """A policy, with the prices and rates as it sees them: all portfolios with this policy are judged by it."""

    policy: MonitoringText
    # The SHA-256 of the policy's text.
    digest: str
    prices: Mapping[str, Price]
    rates: Rates
    # The corporate actions until the day of the run. The policy and the prices are as they leave them.
    actions: Actions = NO_ACTIONS
    # The plans of portfolios under the policy, perhaps of the run before.
    known_plans: Plans | None = None
    # What is computed once for all portfolios, by base currency.
    _units: dict[str, UnitValues] = field(default_factory=dict, init=False)

    @cached_property
    def plans(self) -> Plans:
        """The plans of portfolios under the policy."""
        return self.known_plans or Plans(self.policy)

    def plan(self, weights: Mapping[str, str], name: str) -> Plan:
        """Return the plan of a portfolio with these target weights."""
        return self.plans.of(name, self.actions.weights(weights))

    def units(self, base: str) -> UnitValues:
        """Return the value of one piece of each asset in a currency."""
        known = self._units.get(base)
        if known is None:
            stale_after = self.policy.stale_after_days
            known = self._units[base] = UnitValues(self.prices, self.rates, base, stale_after)
        return known


@dataclass(frozen=True, slots=True)
class Transition:
    """An event of a run in a portfolio's stream. `name` identifies it within the run and the portfolio."""

    name: str
    event: Event


def check_order(before: str | None, as_of: str) -> None:
    """Raise Refused `run-out-of-order` if a run of a later time is recorded. Both are as events have them."""
    if before is not None and before > as_of:
        raise Refused("run-out-of-order", "a run of a later time is recorded: days are judged in order")


def check_count(portfolios: int) -> None:
    """Raise Refused `too-many-portfolios`: the leaves of a run are those of one event."""
    if portfolios > MOST_PORTFOLIOS:
        raise Refused("too-many-portfolios", f"a run judges at most {MOST_PORTFOLIOS} portfolios")


def check_completed(events: int) -> None:
    """Raise Refused `run-not-completed` for a run with only its first event."""
    if events < 2:
        raise Refused("run-not-completed", "the run is not completed: the next run finishes it")


def second(time: datetime) -> str:
    """Write a time in UTC, in whole seconds, as events have it."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def judged(
    weights: Mapping[str, str] | None,
    holdings: Mapping[str, int | None] | None,
    base: str,
    conditions: Conditions,
    day: str = "",
    name: str = "",
) -> Judgement:
    """Judge a portfolio. Without weights or holdings, because none are recorded or they were erased, it is unknown.

    `holdings` are quantities in parts, as of the end of a day.
    """
    if weights is None or holdings is None:
        return Judgement("unknown", (Unknown("no-quantity", None),))
    held, times = conditions.actions.held(holdings, day)
    return judge(value(held, conditions.units(base), times), conditions.plan(weights, name))


def judged_ready(
    weights: Mapping[str, str] | None, ready: Ready, age: int, base: str, conditions: Conditions, name: str = ""
) -> Judgement:
    """Judge a portfolio by the valuation of its custodian. `age` counts days of the source since then."""
    if weights is None:
        return Judgement("unknown", (Unknown("no-quantity", None),))
    stale_after = conditions.policy.stale_after_days
    found = valued(ready, age, stale_after, base, conditions.rates, conditions.actions)
    return judge(found, conditions.plan(weights, name))


def transition_id(run: int, portfolio: str, name: str) -> UUID:
    """Return the id of an event of a run: the same whenever the run is finished (version 8, RFC 9562 section 5.8)."""
    digest = int.from_bytes(sha256(TRANSITION + f"{run}\n{portfolio}\n{name}".encode()).digest()[:16])
    return UUID(int=(digest & ~(0xF << 76) & ~(0b11 << 62)) | (0x8 << 76) | (0b10 << 62))


def transitions(
    state: Portfolio, judgement: Judgement, conditions: Conditions, run: Run, facts: Facts = NO_FACTS
) -> list[Transition]:
    """Return what the run records about a portfolio: alerts that it raises or closes, and decisions about telling."""
    if state.erased or state.run >= run.number:
        return []  # nothing can be; or it has recorded them already, and was killed later
    found: list[Transition] = []
    alerts, number = dict(state.alerts), state.raised
    policy = conditions.policy
    looked_at = chain(
        findings(state, judgement, policy, run.before, run.as_of),
        triggers(state, judgement, policy, conditions.rates, facts, run.as_of),
    )
    for key, finding in looked_at:
        known = alerts[state.newest[key]] if key in state.newest else None
        after = _after(known, finding, conditions, run)
        if after is None or (known is not None and after == known.alert):
            continue
        if known is not None and after.reason in {"inside", "policy"}:
            event: Event = AlertClosed(alert=known.number, reason=after.reason, run=run.number, as_of=run.at)
            alerts[known.number] = replace(known, alert=after, waits_until=None)
        else:
            number += 1
            event = _raised(number, key, judgement, conditions, run)
            alerts[number] = Watched(number, 0, key, after, after=None if known is None else known.alert.closed_at)
        found.append(Transition(f"{event.type}\n{key[0]}\n{key[1] or ''}", event))
    for watched in alerts.values():
        if (decision := _decided(watched, policy, run, state.told_at)) is not None:
            rule, subject = watched.key
            found.append(Transition(f"{decision.type}\n{rule}\n{subject or ''}\n{watched.number}", decision))
    return found


def _after(known: Watched | None, finding: Finding, conditions: Conditions, run: Run) -> Alert | None:
    """Return the alert after the run. One that another version of the policy raised has to be a breach by this one."""
    if known is None:
        return after_run(None, finding, run.as_of)
    if known.alert.is_open and known.policy != conditions.digest:
        judged_anew = after_policy(known.alert, finding, run.as_of)
        if not judged_anew.is_open:
            return judged_anew
    return after_run(known.alert, finding, run.as_of)


def _raised(number: int, key: Key, judgement: Judgement, conditions: Conditions, run: Run) -> AlertRaised:
    cause = None
    if key[0] == "data":
        cause = "too-many-flows" if key == FLOWS_UNREAD else judgement.unknown[0].reason
    return AlertRaised(
        alert=number,
        rule=key[0],
        subject=key[1],
        cause=cause,
        policy=conditions.digest,
        run=run.number,
        as_of=run.at,
    )


def _decided(
    watched: Watched, policy: MonitoringText, run: Run, told_at: datetime | None
) -> NotificationDecided | None:
    """Decide whom to tell of an alert as it is now; None if there is nothing to decide."""
    alert = watched.alert
    about: Literal["opened", "closed"] = "opened" if alert.is_open else "closed"
    if watched.opening_decided if alert.is_open else watched.close_decided:
        return None
    if watched.waits_until is not None and run.as_of < watched.waits_until:
        return None
    decision = decide(alert, int(watched.told), watched.waited, _hindrances(watched, policy, run, told_at), run.as_of)
    if decision is None:
        return None
    to: Receivers = policy.tell.get(watched.key[0], "advisor") if isinstance(decision, Tell) else "nobody"
    reason: str = decision.about if isinstance(decision, Tell) else decision.reason
    return NotificationDecided(
        alert=watched.number,
        about=about,
        receivers=RECEIVERS[to],
        reason="policy" if isinstance(decision, Tell) and to == "nobody" else reason,
        until=second(_whole(decision.until)) if isinstance(decision, Wait) else None,
        run=run.number,
        as_of=run.at,
        historical=run.historical,
    )


def _hindrances(watched: Watched, policy: MonitoringText, run: Run, told_at: datetime | None) -> Hindrances:
    hours = policy.quiet_hours
    quiet = None if hours is None else quiet_until(run.as_of, hours.start, hours.end, zone_named(hours.zone))
    cool_down = None
    if watched.after is not None and policy.cool_down_days and watched.alert.is_open:
        cool_down = watched.after + timedelta(days=policy.cool_down_days)
    told = None
    if told_at is not None and policy.decide_every_days > 1 and watched.alert.is_open:
        told = told_at + timedelta(days=policy.decide_every_days)
    return Hindrances(quiet, watched.silenced_until, cool_down, told)


def _whole(time: datetime) -> datetime:
    """Round up to a whole second: nothing is told before its time."""
    return time if not time.microsecond else time.replace(microsecond=0) + timedelta(seconds=1)
