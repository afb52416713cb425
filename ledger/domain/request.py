"""Answering a request: model calls around it, the recommendation, or why there is none."""

from __future__ import annotations

from ledger.domain import answer_schemas
from ledger.domain.agent import Agent, check_running
from ledger.domain.case import Call, Case
from ledger.errors import InvalidEvent, NotFound, Refused
from schema.events import RecommendationRecorded

# States of a recommendation whose place another may take without having been asked for one.
OPEN_TO_ANOTHER = frozenset({"rejected", "communicated"})


def check_known(case: Case) -> None:
    """Raises NotFound `request-unknown`."""
    if case.status is None:
        raise NotFound("request-unknown", "there is no such request")


def check_start(case: Case, agent: Agent) -> None:
    """Whether a model may be called for the request. Raises NotFound, Refused `agent-suspended`, `request-failed`."""
    check_known(case)
    check_running(agent)
    if case.status == "failed":
        raise Refused("request-failed", "the request has failed: it takes no further answer")


def check_end(case: Case, call_id: int, by: str) -> Call:
    """The call, where it may end now. Raises NotFound, Refused `model-call-of-another`, `model-call-ended`."""
    call = case.calls.get(call_id)
    if call is None:
        raise NotFound("model-call-unknown", "there is no such model call")
    if call.event.by != by:
        raise Refused("model-call-of-another", "another agent made this call")
    if call.ended is not None:
        raise Refused("model-call-ended", "this call has ended already")
    return call


def check_failure(case: Case, agent: Agent) -> None:
    """Whether the request may fail. Raises as check_start does, and Refused `request-finished`."""
    check_start(case, agent)
    if case.status != "queued":
        raise Refused("request-finished", "the request has its recommendation: it takes no further answer")


def answer(case: Case, agent: Agent, said: RecommendationRecorded, by: str) -> RecommendationRecorded:
    """What is recorded of an answer: as it was said, with the recommendation whose place it takes.

    Raises as check_failure does, and Refused `answer-off-schema`, `recommendation-superseded`; InvalidEvent for a
    `model_call_id` that is no completed call of this agent for this request.
    """
    check_start(case, agent)
    supersedes = _place(case, said.supersedes)
    if said.model_call_id is not None:
        _check_call(case, said.model_call_id, by)
    answer_schemas.check(agent.answer_schema, said.recommendation, case.amount_usd)
    return said.model_copy(update={"supersedes": supersedes})


def _place(case: Case, said: int | None) -> int | None:
    """The recommendation that the new one takes the place of. Raises Refused."""
    current = case.recommendation
    if current is None:
        if said is not None:
            raise InvalidEvent("supersedes", "this request has no recommendation yet")
        return None
    if said is not None and said != current.id:
        raise Refused(
            "recommendation-superseded",
            "that is not the current recommendation of this request",
            current_recommendation_id=current.id,
            current_digest=current.standing,
        )
    if case.status == "queued" or (said is not None and current.state in OPEN_TO_ANOTHER):
        return current.id
    raise Refused(
        "request-finished",
        f"the request has its recommendation, which is {current.state}: only one that is rejected or communicated can "
        "be superseded, by an answer that names it in `supersedes`",
    )


def _check_call(case: Case, call_id: int, by: str) -> None:
    call = case.calls.get(call_id)
    if call is None or call.event.by != by or not call.completed:
        raise InvalidEvent("model_call_id", "not a completed model call of this agent for this request")
    if call.used:
        raise InvalidEvent("model_call_id", "another recommendation came from this call")
