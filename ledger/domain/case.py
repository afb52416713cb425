"""The life of a request, as its stream tells it, from the question to what the client was told.

The request:

    (nothing) --portfolio.requested--> queued --recommendation.recorded--> recommended --decided: respond--> queued
                                         \\------request.failed-----------> failed

Its current recommendation:

    (nothing) --recommendation.recorded--> proposed
    proposed  --decided, needs no second--> approved | edited | rejected | returned
    proposed  --decided, needs a second---> waiting
    waiting   --confirmed: approve--------> approved | edited | rejected
    waiting   --confirmed: decline--------> proposed
    approved, edited --communicated-------> communicated
    rejected, returned, communicated --a new recommendation.recorded--> superseded, and the new one is proposed

Everything else is refused, by name, in the modules beside this one. A failed request and a superseded recommendation
are final; a rejected or communicated one changes in no other way than by being superseded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal

from ledger.domain.history import Past

CATEGORY = "request-"

AFTER = {"approve": "approved", "edit": "edited", "reject": "rejected", "respond": "returned"}


@dataclass(frozen=True)
class Call:
    """A model call: `id` is the position of its start, `ended` the event that ended it; `used`: an answer names it."""

    id: int
    event: Past
    ended: Past | None = None
    used: bool = False

    @property
    def completed(self) -> bool:
        """Whether something usable came back."""
        return self.ended is not None and self.ended.type == "model-call.completed"


@dataclass(frozen=True)
class Decision:
    """What a person decided. `result` is the digest of what stands once it takes effect.

    `second_rules` are the rules of the four-eyes policy that ask for a second person; without any it took effect.
    """

    id: int
    by: str
    outcome: str
    result: str
    second_rules: tuple[str, ...]


@dataclass(frozen=True)
class Recommendation:
    """`digest` is of the answer as the agent gave it."""

    id: int
    event: Past
    digest: str
    state: str = "proposed"
    decision: Decision | None = None

    @property
    def standing(self) -> str:
        """The digest of what stands: the answer, or what replaced it by an edit that took effect."""
        if self.decision is not None and self.state in {"edited", "communicated"}:
            return self.decision.result
        return self.digest


@dataclass(frozen=True)
class Case:
    """A request's stream so far. `status` is None while there is no request; `version` is that of its last event."""

    status: str | None = None
    version: int = 0
    asked: Past | None = None
    amount_usd: Decimal = Decimal(0)
    recommendation: Recommendation | None = None
    superseded: frozenset[int] = frozenset()
    # The recommendation that each decision is about, by the decision's id.
    decisions: dict[int, int] = field(default_factory=dict)
    calls: dict[int, Call] = field(default_factory=dict)


def stream_of(request_id: int) -> str:
    """The stream that a request's events are in."""
    return f"{CATEGORY}{request_id}"


def fold(history: Iterable[Past]) -> Case:
    """The state after the stream's events, given in order. Events that fit nowhere change nothing but the version."""
    case = Case()
    for past in history:
        apply = APPLY.get(past.type)
        if apply is not None and (case.status is not None or past.type == "portfolio.requested"):
            case = apply(case, past)
        case = replace(case, version=past.version)
    return case


def _requested(case: Case, past: Past) -> Case:
    if case.status is not None:
        return case
    return replace(case, status="queued", asked=past, amount_usd=Decimal(past.data["amount_usd"]))


def _recorded(case: Case, past: Past) -> Case:
    before = case.recommendation
    gone = case.superseded if before is None else case.superseded | {before.id}
    new = Recommendation(past.position, past, past.commitment("recommendation"))
    calls = dict(case.calls)
    call = calls.get(past.data.get("model_call_id", 0))
    if call is not None:
        calls[call.id] = replace(call, used=True)
    return replace(case, status="recommended", recommendation=new, superseded=gone, calls=calls)


def _failed(case: Case, _past: Past) -> Case:
    return replace(case, status="failed")


def _started(case: Case, past: Past) -> Case:
    return replace(case, calls={**case.calls, past.position: Call(past.position, past)})


def _ended(case: Case, past: Past) -> Case:
    for call in case.calls.values():
        if str(call.event.id) == past.causation and call.ended is None:
            return replace(case, calls={**case.calls, call.id: replace(call, ended=past)})
    return case


def _decided(case: Case, past: Past) -> Case:
    current = case.recommendation
    if current is None or current.id != past.data["recommendation_id"] or current.state != "proposed":
        return case
    outcome, needs_second = past.data["outcome"], past.data["needs_second"]
    rules = tuple(past.data["second_rules"])
    result = past.commitment("replacement") if outcome == "edit" else current.digest
    decision = Decision(past.position, past.by, outcome, result, rules)
    state = "waiting" if needs_second else AFTER[outcome]
    status = "queued" if state == "returned" else case.status
    current = replace(current, state=state, decision=decision)
    return replace(case, status=status, recommendation=current, decisions={**case.decisions, decision.id: current.id})


def _confirmed(case: Case, past: Past) -> Case:
    current = case.recommendation
    if current is None or current.state != "waiting" or current.decision is None:
        return case
    if current.decision.id != past.data["decision_id"]:
        return case
    if past.data["outcome"] == "decline":
        return replace(case, recommendation=replace(current, state="proposed", decision=None))
    return replace(case, recommendation=replace(current, state=AFTER[current.decision.outcome]))


def _communicated(case: Case, past: Past) -> Case:
    current = case.recommendation
    if current is None or current.id != past.data["recommendation_id"] or current.state not in {"approved", "edited"}:
        return case
    return replace(case, recommendation=replace(current, state="communicated"))


APPLY: dict[str, Callable[[Case, Past], Case]] = {
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
