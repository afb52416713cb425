"""The life of a request: the state that the events of its stream lead to.

The request:

    (nothing) --portfolio.requested--> queued --recommendation.recorded--> recommended --decided: respond--> queued
                                         \\------request.failed-----------> failed
    queued, recommended --request.withdrawn--> withdrawn

Its current recommendation:

    (nothing) --recommendation.recorded--> proposed
    proposed  --decided, no confirmation needed--> approved | edited | rejected | returned
    proposed  --decided, confirmation needed-----> waiting
    waiting   --confirmed: approve--------> approved | edited | rejected
    waiting   --confirmed: decline--------> proposed
    waiting   --decision withdrawn, expired--> proposed
    approved, edited, rejected --decision revoked--> proposed
    approved, edited --communicated-------> communicated
    rejected, returned, communicated --a new recommendation.recorded--> superseded, and the new one is proposed
    all but communicated and superseded --the request is withdrawn--> withdrawn

The modules beside this one refuse everything else, by name. A failed or withdrawn request, a superseded or withdrawn
recommendation are final.
A rejected or communicated recommendation changes in no other way than by being superseded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal

from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.errors import StreamUnreadable
from schema.states import RecommendationState, RequestState

CATEGORY = "request-"

# The state of a recommendation after a decision with this outcome took effect.
AFTER = {
    "approve": RecommendationState.APPROVED,
    "edit": RecommendationState.EDITED,
    "reject": RecommendationState.REJECTED,
    "respond": RecommendationState.RETURNED,
}
# The states in which the client may be told.
APPROVED = frozenset({RecommendationState.APPROVED, RecommendationState.EDITED})
# The states in which the decision can be revoked.
REVOCABLE = APPROVED | {RecommendationState.REJECTED}
# The states in which the decision on record is, or was, in force.
_DECIDED = APPROVED | {RecommendationState.COMMUNICATED, RecommendationState.WITHDRAWN}


@dataclass(frozen=True)
class Call:
    """A model call. `id` is the position of its start `event`; `ended` is the event that ended it.

    `used`: a recommendation names the call.
    """

    id: int
    event: RecordedEvent
    ended: RecordedEvent | None = None
    used: bool = False

    @property
    def completed(self) -> bool:
        """True if the call ended with a usable result."""
        return self.ended is not None and self.ended.type == "model-call.completed"


@dataclass(frozen=True)
class Decision:
    """A person's decision. `digest` is that of the content that is current once the decision takes effect.

    `second_rules` are the rules of the four-eyes policy that require a confirmation. Without any, the decision took
    effect at once. One that waits expires after `confirm_within_hours`, if there are any.
    """

    id: int
    by: str
    outcome: str
    digest: str
    second_rules: tuple[str, ...]
    confirm_within_hours: int | None = None

    def overdue(self, age_s: float) -> bool:
        """Return True if a decision that was recorded these seconds ago can no longer be confirmed."""
        return self.confirm_within_hours is not None and age_s >= self.confirm_within_hours * 3600


@dataclass(frozen=True)
class Recommendation:
    """A recommendation. `digest` is that of the answer as the agent gave it."""

    id: int
    event: RecordedEvent
    digest: str
    state: RecommendationState = RecommendationState.PROPOSED
    decision: Decision | None = None

    @property
    def current_digest(self) -> str:
        """The digest of the current content: the answer, or its replacement once an edit took effect."""
        if self.decision is not None and self.state in _DECIDED:
            return self.decision.digest
        return self.digest

    @property
    def waiting(self) -> Decision | None:
        """The decision that waits for a confirmation."""
        return self.decision if self.state is RecommendationState.WAITING else None


@dataclass(frozen=True)
class Case:
    """The state of a request's stream. `state` is None if there is no request; `version` is that of the last event."""

    state: RequestState | None = None
    version: int = 0
    request: RecordedEvent | None = None
    amount_usd: Decimal = Decimal(0)
    recommendation: Recommendation | None = None
    superseded: frozenset[int] = frozenset()
    # The recommendation that each decision is about, by the decision's id.
    decisions: dict[int, int] = field(default_factory=dict)
    calls: dict[int, Call] = field(default_factory=dict)


def stream_of(request_id: int) -> str:
    """Return the name of a request's stream."""
    return f"{CATEGORY}{request_id}"


def fold_case(history: Iterable[RecordedEvent]) -> Case:
    """Return the state after the events of a stream, in order. An unexpected event changes only the version.

    Raises StreamUnreadable for an event that lacks a member that every client sends.
    """
    case = Case()
    for event in history:
        apply = APPLY.get(event.type)
        if apply is not None and (case.state is not None or event.type == "portfolio.requested"):
            try:
                case = apply(case, event)
            except MALFORMED as error:
                raise StreamUnreadable.at(event.stream, event.position) from error
        case = replace(case, version=event.version)
    return case


def _requested(case: Case, event: RecordedEvent) -> Case:
    if case.state is not None:
        return case
    return replace(case, state=RequestState.QUEUED, request=event, amount_usd=Decimal(event.data["amount_usd"]))


def _recorded(case: Case, event: RecordedEvent) -> Case:
    before = case.recommendation
    superseded = case.superseded if before is None else case.superseded | {before.id}
    recommendation = Recommendation(event.position, event, event.commitment("recommendation"))
    calls = dict(case.calls)
    call = calls.get(event.data.get("model_call_id", 0))
    if call is not None:
        calls[call.id] = replace(call, used=True)
    return replace(
        case, state=RequestState.RECOMMENDED, recommendation=recommendation, superseded=superseded, calls=calls
    )


def _failed(case: Case, _event: RecordedEvent) -> Case:
    return replace(case, state=RequestState.FAILED)


def _started(case: Case, event: RecordedEvent) -> Case:
    return replace(case, calls={**case.calls, event.position: Call(event.position, event)})


def _ended(case: Case, event: RecordedEvent) -> Case:
    for call in case.calls.values():
        if str(call.event.id) == event.causation and call.ended is None:
            return replace(case, calls={**case.calls, call.id: replace(call, ended=event)})
    return case


def _decided(case: Case, event: RecordedEvent) -> Case:
    current = case.recommendation
    if current is None or current.id != event.data["recommendation_id"]:
        return case
    if current.state is not RecommendationState.PROPOSED:
        return case
    outcome = event.data["outcome"]
    digest = event.commitment("replacement") if outcome == "edit" else current.digest
    within = event.data.get("confirm_within_hours")
    hours = within if isinstance(within, int) else None
    decision = Decision(event.position, event.by, outcome, digest, tuple(event.data["second_rules"]), hours)
    state = RecommendationState.WAITING if event.data["needs_second"] else AFTER[outcome]
    return replace(
        case,
        state=RequestState.QUEUED if state is RecommendationState.RETURNED else case.state,
        recommendation=replace(current, state=state, decision=decision),
        decisions={**case.decisions, decision.id: current.id},
    )


def _confirmed(case: Case, event: RecordedEvent) -> Case:
    current = case.recommendation
    waiting = None if current is None else current.waiting
    if current is None or waiting is None or waiting.id != event.data["decision_id"]:
        return case
    if event.data["outcome"] == "decline":
        return replace(case, recommendation=replace(current, state=RecommendationState.PROPOSED, decision=None))
    return replace(case, recommendation=replace(current, state=AFTER[waiting.outcome]))


def _communicated(case: Case, event: RecordedEvent) -> Case:
    current = case.recommendation
    if current is None or current.id != event.data["recommendation_id"] or current.state not in APPROVED:
        return case
    return replace(case, recommendation=replace(current, state=RecommendationState.COMMUNICATED))


def _request_withdrawn(case: Case, _event: RecordedEvent) -> Case:
    current = case.recommendation
    if current is not None and current.state is RecommendationState.COMMUNICATED:
        return case
    if case.state not in {RequestState.QUEUED, RequestState.RECOMMENDED}:
        return case
    if current is not None:
        decision = None if current.waiting else current.decision
        current = replace(current, state=RecommendationState.WITHDRAWN, decision=decision)
    return replace(case, state=RequestState.WITHDRAWN, recommendation=current)


def _released(case: Case, event: RecordedEvent) -> Case:
    """A decision that waits was withdrawn, or has expired."""
    current = case.recommendation
    if current is None or current.waiting is None or current.waiting.id != event.data["decision_id"]:
        return case
    return replace(case, recommendation=replace(current, state=RecommendationState.PROPOSED, decision=None))


def _revoked(case: Case, event: RecordedEvent) -> Case:
    current = case.recommendation
    if current is None or current.decision is None or current.decision.id != event.data["decision_id"]:
        return case
    if current.state not in REVOCABLE:
        return case
    return replace(case, recommendation=replace(current, state=RecommendationState.PROPOSED, decision=None))


APPLY: dict[str, Callable[[Case, RecordedEvent], Case]] = {
    "portfolio.requested": _requested,
    "model-call.started": _started,
    "model-call.completed": _ended,
    "model-call.failed": _ended,
    "recommendation.recorded": _recorded,
    "request.failed": _failed,
    "recommendation.decided": _decided,
    "recommendation.confirmed": _confirmed,
    "recommendation.communicated": _communicated,
    "request.withdrawn": _request_withdrawn,
    "decision.withdrawn": _released,
    "decision.expired": _released,
    "decision.revoked": _revoked,
}
