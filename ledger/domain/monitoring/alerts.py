"""The life of an alert: what a run does to it, and what people do.

    (none) --breached--> open --acknowledge--> acknowledged --propose--> action-proposed
                          \\__________________ closed(reason) ________________________/

There is one open alert for a portfolio, rule and subject. A run opens and closes it by its condition alone: it opens
when the rule is breached, and closes when each asset is back inside the edge that re-arms (hysteresis). In between the
condition stays breached. A condition that is unknown does neither. Another breach after the close is another alert. A
higher step of the same alert is decided anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from ledger.domain.monitoring.drift import Condition, Judgement, turnover_rearmed
from ledger.domain.monitoring.policy import MonitoringText
from ledger.errors import Refused
from schema.states import AlertState

CloseReason = Literal["inside", "policy", "handled", "client", "data"]
HANDLED_BY_PEOPLE: frozenset[str] = frozenset({"handled", "client", "data"})


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a run for one rule and subject of a portfolio."""

    condition: Condition
    # The breach is over: within the edge that re-arms. Not the same as "not breached".
    rearmed: bool
    # The step that was reached, for rules that have steps: 1 for a breach.
    step: int = 1


# The two that most rules find.
OVER = Finding("ok", rearmed=True)
MET = Finding("breached", rearmed=False)


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert. `number` counts those of its portfolio, rule and subject."""

    number: int
    state: AlertState
    step: int
    opened_at: datetime
    closed_at: datetime | None = None
    reason: CloseReason | None = None

    @property
    def is_open(self) -> bool:
        """Return True until the alert is closed."""
        return self.state is not AlertState.CLOSED


def drift_finding(judgement: Judgement) -> Finding:
    """Return what a judgement means for the drift alert of the whole portfolio."""
    is_over = judgement.rearmed and judgement.condition == "ok"
    return OVER if is_over else Finding(judgement.condition, judgement.rearmed)


def data_finding(judgement: Judgement) -> Finding:
    """Return what a judgement means for the alert about missing, stale or doubtful data."""
    return MET if judgement.condition == "unknown" else OVER


def turnover_finding(judgement: Judgement, policy: MonitoringText) -> Finding:
    """Return what a judgement means for the alert about turnover to target. The policy has a limit for it."""
    if judgement.valuation is None or policy.turnover is None:
        return Finding("unknown", rearmed=False)
    return Finding(judgement.turnover, turnover_rearmed(judgement, policy))


def limit_finding(judgement: Judgement, *, beyond: bool) -> Finding:
    """Return what a judgement means for the alert about a limit. It ends where it begins: at the limit."""
    if judgement.condition == "unknown":
        return Finding("unknown", rearmed=False)
    return MET if beyond else OVER


def after_run(alert: Alert | None, finding: Finding, at: datetime) -> Alert | None:
    """Return the alert after a run: the same one if the run changes nothing, else opened, at a higher step or closed.

    `alert` is the newest one of this portfolio, rule and subject.
    """
    if finding.condition == "unknown":
        return alert
    if alert is None or not alert.is_open:
        if finding.condition != "breached":
            return alert
        return Alert(1 if alert is None else alert.number + 1, AlertState.OPEN, finding.step, at)
    if finding.rearmed:
        return replace(alert, state=AlertState.CLOSED, closed_at=at, reason="inside")
    if finding.condition == "breached" and finding.step > alert.step:
        return replace(alert, step=finding.step)
    return alert


def held(alert: Alert | None, finding: Finding) -> Condition:
    """Return the condition that a run records: a breach lasts until its alert, `alert` after the run, is closed."""
    if finding.condition == "unknown" or alert is None or not alert.is_open:
        return finding.condition
    return "breached"


def after_policy(alert: Alert, finding: Finding, at: datetime) -> Alert:
    """Return an open alert as another version of the policy judges it: closed if it is no breach there."""
    if finding.condition in {"ok", "watch"}:
        return replace(alert, state=AlertState.CLOSED, closed_at=at, reason="policy")
    return alert


def acknowledge(alert: Alert) -> Alert:
    """Return the alert after a person took it. Raises Refused `alert-closed` or `alert-acknowledged`."""
    _check_open(alert)
    if alert.state is not AlertState.OPEN:
        raise Refused("alert-acknowledged", "this alert is acknowledged already")
    return replace(alert, state=AlertState.ACKNOWLEDGED)


def propose_action(alert: Alert) -> Alert:
    """Return the alert after advice was asked for because of it. Raises Refused `alert-closed`.

    One that nobody has taken stays open: somebody still has to.
    """
    _check_open(alert)
    return alert if alert.state is AlertState.OPEN else replace(alert, state=AlertState.ACTION_PROPOSED)


def close(alert: Alert, reason: CloseReason, at: datetime) -> Alert:
    """Return the alert after a person closed it. Raises Refused `alert-closed` or `close-reason`."""
    _check_open(alert)
    if reason not in HANDLED_BY_PEOPLE:
        raise Refused("close-reason", f"a person closes an alert as {', '.join(sorted(HANDLED_BY_PEOPLE))}")
    return replace(alert, state=AlertState.CLOSED, closed_at=at, reason=reason)


def _check_open(alert: Alert) -> None:
    if not alert.is_open:
        raise Refused("alert-closed", "this alert is closed: another breach opens another one")
