"""Find reasons to look at a portfolio other than drift and limits: flows, assessments, newer advice, losses. Pure.

A policy names the reasons that it uses. If there are more records of flows than a run reads, what they could change is
unknown, and an alert about data says so. An alert about a loss waits for a person; the others end when their reason
does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from ledger.domain.monitoring.alerts import HANDLED_BY_PEOPLE, MET, OVER, Finding
from ledger.domain.monitoring.calendar import due_after, zone_named
from ledger.domain.monitoring.drift import Judgement
from ledger.domain.monitoring.flows import NO_FLOWS, Flows, depreciated, is_large, lacks_flows
from ledger.domain.monitoring.policy import MonitoringText
from ledger.domain.monitoring.portfolio import Key, Portfolio, Watched
from ledger.domain.monitoring.valuation import Rates

FLOW: Key = ("flow", None)
# Data that are missing: flows that may count were not read.
FLOWS_UNREAD: Key = ("data", "flows")
SUITABILITY: Key = ("suitability", None)
SUPERSEDED: Key = ("superseded", None)
DEPRECIATION = "depreciation"


@dataclass(frozen=True)
class Facts:
    """The input of triggers besides the judgement: flows, and the last approval of advice since the run before."""

    flows: Flows = NO_FLOWS
    # Its position; 0 if there is none.
    approved: int = 0


NO_FACTS = Facts()


def triggers(
    state: Portfolio, judgement: Judgement, policy: MonitoringText, rates: Rates, facts: Facts, now: datetime
) -> Iterator[tuple[Key, Finding]]:
    """Yield each trigger with what the run finds. One that the policy no longer has is over."""
    handled, today = _handled(state), now.date()
    yield FLOWS_UNREAD, MET if lacks_flows(facts.flows, policy, today, handled) else OVER
    yield FLOW, _flow(judgement, policy, rates, facts.flows, today, handled)
    yield SUITABILITY, MET if _is_due(state, policy, now) else OVER
    yield SUPERSEDED, MET if _is_superseded(state, policy, facts.approved) else OVER
    yield from _losses(state, judgement, policy, rates, facts.flows)


def _handled(state: Portfolio) -> int:
    """Return the position that the last alert about flows was closed at; 0 if there was none."""
    return max((one.closed_at for one in state.alerts.values() if one.key == FLOW), default=0)


def _flow(
    judgement: Judgement, policy: MonitoringText, rates: Rates, flows: Flows, today: date, handled: int
) -> Finding:
    """Return whether flows are large that were recorded since the last alert about them was closed."""
    if policy.flow is None:
        return OVER
    large = is_large(flows, judgement, policy, rates, today, handled)
    if large is None:
        return Finding("unknown", rearmed=False)
    return MET if large else OVER


def _is_due(state: Portfolio, policy: MonitoringText, now: datetime) -> bool:
    """Return True if suitability was not assessed, too long ago, or for another risk profile."""
    definition, rule = state.definition, policy.suitability
    if rule is None or definition is None:
        return False
    if definition.assessed_on is None or definition.risk_profile != definition.assessed_profile:
        return True
    return due_after(date.fromisoformat(definition.assessed_on), rule.every, zone_named(rule.zone)) <= now


def _is_superseded(state: Portfolio, policy: MonitoringText, approved: int) -> bool:
    """Return True if advice was approved after the targets were set, until they are set again."""
    definition, known = state.definition, _newest(state, SUPERSEDED)
    if not policy.target_superseded or definition is None:
        return False
    waits = known is not None and known.alert.is_open and known.position > definition.position
    by_person = known is not None and known.alert.reason in HANDLED_BY_PEOPLE
    return waits or approved > max(definition.position, known.closed_at if known and by_person else 0)


def _losses(
    state: Portfolio, judgement: Judgement, policy: MonitoringText, rates: Rates, flows: Flows
) -> Iterator[tuple[Key, Finding]]:
    """Yield a further tenth that is lost, once in a period, and the alerts about tenths that wait for a person."""
    told = {one.key[1] or "": one for one in state.alerts.values() if one.key[0] == DEPRECIATION}
    for subject, one in told.items():
        if one.alert.is_open:
            yield (DEPRECIATION, subject), MET if policy.depreciation_notices else OVER
    found = depreciated(flows, judgement, rates) if policy.depreciation_notices else None
    if found is not None:
        steps = [_tenths(subject) for subject in told if subject.startswith(f"{found.start}/")]
        if found.step > max(steps, default=0):
            yield (DEPRECIATION, f"{found.start}/{10 * found.step}"), MET


def _tenths(subject: str) -> int:
    percent = subject.rpartition("/")[2]
    return int(percent) // 10 if percent.isdecimal() else 0


def _newest(state: Portfolio, key: Key) -> Watched | None:
    number = state.newest.get(key)
    return None if number is None else state.alerts[number]
