"""The state of a watched portfolio, from its own stream `portfolio-NAME`: its definition and its alerts.

Each alert is numbered within its portfolio, and is the newest one of its rule and subject. The events of runs and of
people fold to the same `Alert` that ledger/domain/monitoring/alerts.py judges by.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.domain.monitoring.alerts import Alert, acknowledge, close, propose_action
from ledger.domain.monitoring.drift import targets
from ledger.domain.monitoring.telling import Hindrance
from ledger.errors import InvalidEvent, NotFound, Refused
from schema.events import AcknowledgeAlert, CloseAlert, DefinePortfolio, SilenceAlert
from schema.fields import RiskProfile
from schema.states import AlertState

CATEGORY = "portfolio-"
HOLDINGS = "holdings-"
# A rule and the asset that it is about; None is the whole portfolio.
Key = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Definition:
    """The target of a portfolio. `weights` is None once the client was erased."""

    position: int
    client: int
    client_id: str | None
    base: str
    policy: str
    risk_profile: RiskProfile | None
    weights: Mapping[str, str] | None
    # The day of the last assessment of suitability, and the risk profile that was assessed.
    assessed_on: str | None = None
    assessed_profile: RiskProfile | None = None


@dataclass(frozen=True, slots=True)
class Watched:
    """An alert with what was decided about telling. `position` is that of its `alert.raised`."""

    number: int
    position: int
    key: Key
    alert: Alert
    # The id of its `alert.raised`, and when it was recorded; not while a run has not recorded it.
    raised: UUID | None = None
    recorded_at: datetime | None = None
    # The digest of the policy that raised it.
    policy: str = ""
    silenced_until: datetime | None = None
    # Somebody was told that it opened.
    told: bool = False
    # The opening, and the close, are decided for good.
    opening_decided: bool = False
    close_decided: bool = False
    waited: Hindrance | None = None
    # Until when the newest decision waits.
    waits_until: datetime | None = None
    # The position of its `alert.closed`.
    closed_at: int = 0
    # When the alert before it, of the same rule and subject, was closed.
    after: datetime | None = None
    # The outcome of the request for advice about it: `opened`, `joined`, or the reason for none.
    advice: str | None = None
    # The number of times that it went to a next person, because nobody acknowledged it in time.
    level: int = 0

    @property
    def has_advice(self) -> bool:
        """True if a request for advice was opened or joined because of it."""
        return self.advice in {"opened", "joined"}


@dataclass(frozen=True)
class Portfolio:
    """The state of a portfolio's stream. `version` is that of the last event; 0 if there is no such portfolio."""

    name: str
    version: int = 0
    first: RecordedEvent | None = None
    defined: RecordedEvent | None = None
    definition: Definition | None = None
    # Alerts by number, the newest one of each rule and subject, and how many there have been.
    alerts: Mapping[int, Watched] = field(default_factory=dict)
    newest: Mapping[Key, int] = field(default_factory=dict)
    raised: int = 0
    # The number of the last run that recorded something here.
    run: int = 0
    # The as-of time of the last run that told somebody that an alert opened.
    told_at: datetime | None = None
    # The id of the newest request for advice that was opened, and the run that opened it, if a run did.
    requested: UUID | None = None
    requested_by: int | None = None
    # The client was erased: nothing more can be recorded here.
    erased: bool = False


def stream_of(name: str) -> str:
    """Return the name of a portfolio's own stream."""
    return f"{CATEGORY}{name}"


def holdings_of(name: str) -> str:
    """Return the name of the stream with what a portfolio holds."""
    return f"{HOLDINGS}{name}"


def fold(name: str, history: Iterable[RecordedEvent], before: Portfolio | None = None) -> Portfolio:
    """Return the state after events of the stream, with their sealed values and times: all, or those since `before`.

    An event that no client can send changes nothing: one of them must not end the runs of all portfolios.
    """
    state = before or Portfolio(name)
    for event in history:
        with contextlib.suppress(*MALFORMED):
            state = _after(state, event)
        state = replace(state, version=event.version)
    return state


def _after(state: Portfolio, event: RecordedEvent) -> Portfolio:
    data = event.data
    if event.type == "portfolio.defined":
        return replace(state, first=state.first or event, defined=event, definition=_definition(state, event))
    if event.type == "values.erased":
        return replace(state, erased=True)
    state = replace(state, run=max(state.run, data.get("run") or 0))
    if event.type == "alert.raised":
        return _raised(state, event)
    if event.type == "rebalancing.decided" and data["outcome"] == "opened":
        state = replace(state, requested=request_id_of(event.id), requested_by=data.get("run"))
    known = state.alerts.get(data.get("alert", 0))
    if known is None:
        return state
    told_at = state.told_at
    if event.type == "notification.decided" and data["about"] == "opened" and data["receivers"]:
        told_at = datetime.fromisoformat(data["as_of"])
    return replace(state, alerts={**state.alerts, known.number: _changed(known, event)}, told_at=told_at)


def _raised(state: Portfolio, event: RecordedEvent) -> Portfolio:
    data, number = event.data, state.raised + 1
    key: Key = (data["rule"], data.get("subject"))
    before = state.alerts[state.newest[key]] if key in state.newest else None
    ordinal = 1 if before is None else before.alert.number + 1
    watched = Watched(
        number,
        event.position,
        key,
        Alert(ordinal, AlertState.OPEN, 1, datetime.fromisoformat(data["as_of"])),
        event.id,
        event.recorded_at,
        policy=data["policy"],
        after=None if before is None else before.alert.closed_at,
    )
    alerts, newest = {**state.alerts, number: watched}, {**state.newest, key: number}
    return replace(state, alerts=alerts, newest=newest, raised=number)


def _changed(known: Watched, event: RecordedEvent) -> Watched:
    data, alert = event.data, known.alert
    match event.type:
        case "alert.acknowledged":
            taken = replace(alert, state=AlertState.ACKNOWLEDGED)
            known = replace(known, alert=propose_action(taken) if known.has_advice else taken)
        case "alert.escalated":
            known = replace(known, level=max(known.level, data["level"]))
        case "rebalancing.decided":
            known = replace(known, advice=data.get("cause") or data["outcome"])
            if known.has_advice and alert.is_open:
                known = replace(known, alert=propose_action(alert))
        case "alert.silenced":
            return replace(known, silenced_until=datetime.fromisoformat(data["until"]))
        case "alert.closed":
            at = datetime.fromisoformat(data["as_of"]) if "as_of" in data else event.recorded_at
            closed = replace(alert, state=AlertState.CLOSED, closed_at=at, reason=data["reason"])
            return replace(known, alert=closed, waits_until=None, closed_at=event.position)
        case "notification.decided":
            return _after_decision(known, data)
    return known


def _after_decision(known: Watched, data: Mapping[str, Any]) -> Watched:
    until = datetime.fromisoformat(data["until"]) if "until" in data else None
    known = replace(known, waits_until=until, waited=None if until is None else data["reason"])
    if data["about"] == "closed":
        return replace(known, close_decided=until is None)
    return replace(known, told=known.told or bool(data["receivers"]), opening_decided=until is None)


def request_id_of(decided: UUID) -> UUID:
    """Return the id of the request that a `rebalancing.decided` with this id opens."""
    return UUID(int=decided.int ^ 1)


def _definition(state: Portfolio, event: RecordedEvent) -> Definition:
    data, sealed, before = event.data, event.fields, state.definition
    if not (isinstance(data["client"], int) and isinstance(data["base"], str) and isinstance(data["policy"], str)):
        raise TypeError("a definition of another shape")
    assessed_on, assessed = data.get("assessed_on"), data.get("risk_profile")
    if assessed_on is not None:
        date.fromisoformat(assessed_on)
    if before is not None and before.assessed_on == assessed_on:
        assessed = before.assessed_profile
    weights = None
    if "targets" in sealed:
        weights = targets(sealed["targets"], sealed.get("rest"))
    return Definition(
        event.position,
        data["client"],
        sealed.get("client_id"),
        data["base"],
        data["policy"],
        data.get("risk_profile"),
        weights,
        assessed_on,
        assessed,
    )


def check_definition(body: DefinePortfolio) -> None:
    """Raise InvalidEvent unless the weights sum to 1, and say where they come from."""
    try:
        targets(body.targets, body.rest)
    except ValueError as error:
        raise InvalidEvent("targets", str(error)) from None
    if (body.recommendation_id is None) == (body.source is None):
        raise InvalidEvent("source", "name either a source of the weights or a recommendation_id")


def check_same_client(state: Portfolio, client: int) -> None:
    """Raise Refused `client-conflict` if the portfolio belongs to another client."""
    if state.definition is not None and state.definition.client != client:
        raise Refused("client-conflict", "the portfolio belongs to another client; give this one another name")


def check_known(state: Portfolio) -> Definition:
    """Return the definition. Raises NotFound `portfolio-unknown`."""
    if state.definition is None:
        raise NotFound("portfolio-unknown", "there is no such portfolio")
    return state.definition


def check_holdings(newest: RecordedEvent | None, as_of: str) -> None:
    """Raise Refused `holdings-out-of-order` if holdings, or a valuation, of a later day are recorded already."""
    if newest is not None and str(newest.data.get("as_of")) > as_of:
        raise Refused("holdings-out-of-order", "those of a later day are recorded: correct them, or send later ones")


def check_act(
    state: Portfolio, position: int, act: AcknowledgeAlert | SilenceAlert | CloseAlert, now: datetime
) -> Watched:
    """Return the alert that a person acts on. Raises NotFound `alert-unknown`, Refused `alert-…`, InvalidEvent."""
    watched = _at(state, position)
    match act:
        case AcknowledgeAlert():
            acknowledge(watched.alert)
        case CloseAlert():
            close(watched.alert, act.reason, now)
        case SilenceAlert():
            if not watched.alert.is_open:
                raise Refused("alert-closed", "this alert is closed: another breach opens another one")
            if datetime.fromisoformat(act.until) <= now:
                raise InvalidEvent("until", "must be in the future")
    return watched


def check_alert(state: Portfolio, position: int) -> Watched:
    """Return the open alert with this id. Raises NotFound `alert-unknown`, Refused `alert-closed`."""
    watched = _at(state, position)
    propose_action(watched.alert)
    return watched


def _at(state: Portfolio, position: int) -> Watched:
    """Return the alert with this id. Raises NotFound `alert-unknown`."""
    watched = next((one for one in state.alerts.values() if one.position == position), None)
    if watched is None:
        raise NotFound("alert-unknown", "there is no such alert")
    return watched
