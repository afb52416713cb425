"""Messages to endpoints: their state, from the stream `delivery-N`, and when they are tried again. Pure.

The state is that of the last event, as in projections/deliveries/fold.sql.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.domain.monitoring.portfolio import Portfolio, Watched
from ledger.domain.monitoring.run import transition_id
from ledger.errors import NotFound, Refused, StreamUnreadable
from schema.deliveries import MOST_DECISIONS
from schema.events import DefineEndpoint, DeliveryEnded, DeliveryPlanned
from schema.states import AlertState, DeliveryState

CATEGORY = "delivery-"
ENDPOINTS = "endpoint-"
MOST_ENDPOINTS = 50
# The pauses after the attempts that fail, in seconds: those that the operator of a large webhook service has found.
PAUSES_S = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
# A receiver may ask for a longer pause, but not for one without end.
LONGEST_PAUSE_S = 86_400.0
SLOW_DOWN = {429, 502, 503, 504}
GONE = 410


@dataclass(frozen=True)
class Delivery:
    """A message. `id` is its id for the receiver; `attempts` counts the attempts since it was last resent."""

    id: UUID
    version: int
    run: int
    endpoint: str
    decisions: Sequence[int]
    state: DeliveryState = DeliveryState.WAITING
    # The number of the last attempt.
    attempt: int = 0
    attempts: int = 0
    # How often it was requested: once by its run, and by each person since.
    round: int = 1


@dataclass(frozen=True)
class Decided:
    """A decision to tell somebody, as its event has it."""

    position: int
    portfolio: str
    alert: int
    about: str
    receivers: Sequence[str]
    as_of: str


def stream_of(number: int) -> str:
    """Return the stream of a message."""
    return f"{CATEGORY}{number}"


def stream_of_endpoint(name: str) -> str:
    """Return the stream of an endpoint."""
    return f"{ENDPOINTS}{name}"


def fold(stream: str, history: Iterable[RecordedEvent]) -> Delivery:
    """Return the state of a message. Raises NotFound `delivery-unknown`, StreamUnreadable."""
    found: Delivery | None = None
    for event in history:
        try:
            if found is None:
                data = event.data
                if event.type != DeliveryPlanned.type:
                    break
                found = Delivery(event.id, event.version, data["run"], data["endpoint"], data["decisions"])
            else:
                found = replace(_after(found, event), version=event.version)
        except MALFORMED as error:
            raise StreamUnreadable.at(stream, event.position) from error
    if found is None:
        raise NotFound("delivery-unknown", "there is no such delivery")
    return found


def _after(found: Delivery, event: RecordedEvent) -> Delivery:
    match event.type:
        case "delivery.attempted":
            attempt = event.data["attempt"]
            return replace(found, state=DeliveryState.SENDING, attempt=attempt, attempts=found.attempts + 1)
        case "delivery.ended":
            return replace(found, state=ended_state(event.data["outcome"], final=event.data["final"]))
        case "delivery.resent":
            return replace(found, state=DeliveryState.WAITING, attempts=0, round=found.round + 1)
    return found


def ended_state(outcome: str, *, final: bool) -> DeliveryState:
    """Return the state after an end."""
    if outcome in {"delivered", "withheld"}:
        return DeliveryState(outcome)
    return DeliveryState.FAILED if final else DeliveryState.WAITING


def check_resend(found: Delivery) -> None:
    """Raise Refused `delivery-not-failed` unless the message was given up."""
    if found.state != DeliveryState.FAILED:
        raise Refused(
            "delivery-not-failed", f"the delivery is {found.state}: only one that has failed is sent again by hand"
        )


def check_count(endpoints: int) -> None:
    """Raise Refused `too-many-endpoints` if another endpoint is over the limit."""
    if endpoints >= MOST_ENDPOINTS:
        raise Refused("too-many-endpoints", f"a ledger has at most {MOST_ENDPOINTS} endpoints")


def plans(
    run: int, endpoints: Mapping[str, DefineEndpoint], decided: Sequence[Decided]
) -> list[tuple[UUID, DeliveryPlanned]]:
    """Return the messages of a run, with their ids: the same whenever the run is finished. The caller leaves out
    historical runs.
    """
    found = []
    for name, endpoint in sorted(endpoints.items()):
        told = [one for one in decided if endpoint.enabled and set(one.receivers) & set(endpoint.receivers)]
        for key, positions in _messages(told, apart=is_to_client_by_mail(endpoint)):
            event = DeliveryPlanned(run=run, endpoint=name, decisions=positions)
            found.append((transition_id(run, name, f"{event.type}\n{key}"), event))
    return found


def is_to_client_by_mail(endpoint: DefineEndpoint) -> bool:
    """Return True if messages are mail to clients: one for each portfolio, and repeated by people alone."""
    return endpoint.channel == "mail" and "client" in endpoint.receivers


def _messages(told: Sequence[Decided], *, apart: bool) -> Iterator[tuple[str, list[int]]]:
    """Yield the decisions of each message with a text that no other message of the run and endpoint has."""
    groups: dict[str, list[int]] = {}
    for one in told:
        groups.setdefault(f"{one.portfolio}\n" if apart else "", []).append(one.position)
    for name, positions in groups.items():
        for first in range(0, len(positions), MOST_DECISIONS):
            yield f"{name}{first}", positions[first : first + MOST_DECISIONS]


def withheld(state: Portfolio, decided: Decided, now: datetime) -> str | None:
    """Return why nobody is told of a decision any more, or None. People may have acted since the decision."""
    watched = state.alerts.get(decided.alert)
    if watched is None or state.definition is None or state.definition.client_id is None:
        return "erased"
    if decided.about == "opened" and watched.alert.state in {AlertState.ACKNOWLEDGED, AlertState.ACTION_PROPOSED}:
        return "acknowledged"
    if decided.about == "opened" and watched.silenced_until is not None and watched.silenced_until > now:
        return "silenced"
    return None


def item(decided: Decided, watched: Watched, base: str) -> dict[str, Any]:
    """Return what a message says about a decision: ids, rule and state, and where to read more."""
    return {
        "decision": decided.position,
        "portfolio": decided.portfolio,
        "alert": watched.position,
        "rule": watched.key[0],
        "about": decided.about,
        "state": str(watched.alert.state),
        "link": f"{base}/alerts/{watched.position}",
    }


def ending(attempt: int, attempts: int, status: int) -> DeliveryEnded:
    """Judge the status of a response. 410 says that there will never be another answer."""
    if 200 <= status < 300:
        return DeliveryEnded(attempt=attempt, outcome="delivered", reason="status", status=status, final=True)
    reason = "gone" if status == GONE else "status"
    final = status == GONE or attempts > len(PAUSES_S)
    return DeliveryEnded(attempt=attempt, outcome="failed", reason=reason, status=status, final=final)


def mail_ending(attempt: int, attempts: int, code: int) -> DeliveryEnded:
    """Judge the code of a mail server, 200 to 599: 4xx says later, 5xx never."""
    outcome = "delivered" if code < 300 else "failed"
    final = outcome == "delivered" or code >= 500 or attempts > len(PAUSES_S)
    return DeliveryEnded.model_validate(
        {"attempt": attempt, "outcome": outcome, "reason": "status", "status": code, "final": final}
    )


def without_answer(attempt: int, attempts: int, outcome: str, reason: str, *, by_people: bool = False) -> DeliveryEnded:
    """Return the end of an attempt that got no answer. `unknown`: the receiver may have the message.

    `by_people`: only a person sends it again.
    """
    return DeliveryEnded.model_validate(
        {"attempt": attempt, "outcome": outcome, "reason": reason, "final": by_people or attempts > len(PAUSES_S)}
    )


def pause_s(attempts: int, asked_s: float | None = None) -> float:
    """Return the pause after this number of failed attempts. `asked_s` is the receiver's request."""
    own = PAUSES_S[min(attempts, len(PAUSES_S)) - 1]
    return min(max(own, asked_s or 0.0), LONGEST_PAUSE_S)
