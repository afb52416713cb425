"""Answer a request: model calls, then the recommendation or the reason for its absence."""

from __future__ import annotations

from ledger.domain import answer_schemas
from ledger.domain.agent import Agent, check_running
from ledger.domain.case import Call, Case
from ledger.errors import InvalidEvent, NotFound, Refused
from schema.events import RecommendationRecorded
from schema.states import RecommendationState, RequestState

# The states of a recommendation that may be superseded although the request is not queued.
SUPERSEDABLE = frozenset({RecommendationState.REJECTED, RecommendationState.COMMUNICATED})
# The states of a decision in force, after which no further answer may come.
DECIDED = frozenset({RecommendationState.APPROVED, RecommendationState.EDITED})


def check_known(case: Case) -> None:
    """Raise NotFound `request-unknown` for an unknown request."""
    if case.state is None:
        raise NotFound("request-unknown", "there is no such request")


def check_open(case: Case, agent: Agent) -> None:
    """Check that the request can have an answer, from this agent.

    Raises NotFound `request-unknown`, Refused `agent-suspended`, `request-failed`, `request-withdrawn`.
    """
    check_known(case)
    check_running(agent)
    _check_takes_answers(case)


def check_not_closed(case: Case) -> None:
    """Check that a call that was made before it was announced may still be recorded: the case is not closed.

    A case with a recommendation that nobody decided yet takes such calls, as exporters send them after the answer.
    Raises NotFound `request-unknown`; Refused `request-failed`, `request-withdrawn`, `request-finished`.
    """
    _check_takes_answers(case)
    current = case.recommendation
    if current is not None and current.state in DECIDED:
        raise Refused(
            "request-finished",
            f"the recommendation of the request is {current.state}: its case takes no further call",
        )


def _check_takes_answers(case: Case) -> None:
    check_known(case)
    if case.state is RequestState.FAILED:
        raise Refused("request-failed", "the request has failed: it takes no further answer")
    if case.state is RequestState.WITHDRAWN:
        raise Refused("request-withdrawn", "the request was withdrawn: it takes no answer")


def check_start(case: Case, agent: Agent) -> None:
    """Check that the agent may call a model for the request: that an answer to it could be recorded.

    Raises as `check_open` does, and Refused `request-finished`.
    """
    check_open(case, agent)
    current = case.recommendation
    if case.state is not RequestState.QUEUED and (current is None or current.state not in SUPERSEDABLE):
        raise Refused("request-finished", "the request has its recommendation: it takes no further model call")


def check_end(case: Case, call_id: int, by: str) -> Call:
    """Return the call if the agent `by` may end it.

    Raises NotFound `model-call-unknown`, Refused `model-call-of-another`, `model-call-ended`.
    """
    call = case.calls.get(call_id)
    if call is None:
        raise NotFound("model-call-unknown", "there is no such model call")
    if call.event.by != by:
        raise Refused("model-call-of-another", "another agent made this call")
    if call.ended is not None:
        raise Refused("model-call-ended", "this call has already ended")
    return call


def check_failure(case: Case, agent: Agent) -> None:
    """Check that the request may fail. Raises as `check_open` does, and Refused `request-finished`."""
    check_open(case, agent)
    if case.state is not RequestState.QUEUED:
        raise Refused("request-finished", "the request has its recommendation: it takes no further answer")


def answer(case: Case, agent: Agent, event: RecommendationRecorded, by: str) -> RecommendationRecorded:
    """Return the event to record for an answer: `event`, with the recommendation that it supersedes.

    Raises as `check_open` does; Refused `request-finished`, `answer-off-schema`, `recommendation-superseded`;
    InvalidEvent if `model_call_id` is not a completed call of this agent for this request.
    """
    check_open(case, agent)
    supersedes = _superseded(case, event.supersedes)
    if event.model_call_id is not None:
        _check_call(case, event.model_call_id, by)
    answer_schemas.check(agent.answer_schema, event.recommendation, case.amount_usd)
    return event.model_copy(update={"supersedes": supersedes})


def _superseded(case: Case, requested: int | None) -> int | None:
    """Return the recommendation that a new one supersedes, if any. `requested` is the agent's `supersedes`."""
    current = case.recommendation
    if current is None:
        if requested is not None:
            raise InvalidEvent("supersedes", "this request has no recommendation yet")
        return None
    if requested is not None and requested != current.id:
        raise Refused(
            "recommendation-superseded",
            "this is not the current recommendation of the request",
            current_recommendation_id=current.id,
            current_digest=current.current_digest,
        )
    if case.state is RequestState.QUEUED or (requested is not None and current.state in SUPERSEDABLE):
        return current.id
    raise Refused(
        "request-finished",
        f"the request has its recommendation, which is {current.state}: an answer can supersede it only once it is "
        "rejected or communicated, and must then name it in `supersedes`",
    )


def _check_call(case: Case, call_id: int, by: str) -> None:
    call = case.calls.get(call_id)
    if call is None or call.event.by != by or not call.completed:
        raise InvalidEvent("model_call_id", "not a completed model call of this agent for this request")
    if call.used:
        raise InvalidEvent("model_call_id", "another recommendation already names this call")
