"""The life of a request: the state that the events of its stream lead to.

The request:

    (nothing) --portfolio.requested--> queued --recommendation.recorded--> recommended --decided: respond--> queued
                                         \\------request.failed-----------> failed

Its current recommendation:

    (nothing) --recommendation.recorded--> proposed
    proposed  --decided, no confirmation needed--> approved | edited | rejected | returned
    proposed  --decided, confirmation needed-----> waiting
    waiting   --confirmed: approve--------> approved | edited | rejected
    waiting   --confirmed: decline--------> proposed
    approved, edited --communicated-------> communicated
    rejected, returned, communicated --a new recommendation.recorded--> superseded, and the new one is proposed

The modules beside this one refuse everything else, by name. A failed request and a superseded recommendation are final.
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
    effect at once.
    """

    id: int
    by: str
    outcome: str
    digest: str
    second_rules: tuple[str, ...]


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
        if self.decision is not None and self.state in {RecommendationState.EDITED, RecommendationState.COMMUNICATED}:
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
    """Return the state after the events of a stream, in order. An event that fits nowhere changes only the version.

    Raises StreamUnreadable for an event that lacks what every client sends.
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
    decision = Decision(event.position, event.by, outcome, digest, tuple(event.data["second_rules"]))
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
}
