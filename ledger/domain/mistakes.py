"""Withdraw a request or a decision, revoke a decision, let one expire. Pure.

No client is told anything by these events, and none of them puts anything in force: the recommendation is proposed
again, or its request is over. So one person is enough, even where the decision needed two.
"""

from __future__ import annotations

from ledger.domain.case import REVOCABLE, Case, Recommendation
from ledger.domain.decisions import check_decision, facts_of
from ledger.domain.request import check_known
from ledger.errors import InvalidEvent, Refused
from schema.events import (
    DecisionExpired,
    DecisionRevoked,
    DecisionWithdrawn,
    RequestWithdrawn,
    RevokeDecision,
    WithdrawDecision,
    WithdrawRequest,
)
from schema.states import RecommendationState, RequestState


def withdraw_request(case: Case, command: WithdrawRequest, replacement: Case | None) -> RequestWithdrawn:
    """Return the event of a withdrawn request. `replacement` is the case of `replaced_by`, if the caller may see it.

    Raises InvalidEvent for members that do not fit, NotFound `request-unknown`, Refused `request-failed`,
    `request-withdrawn`, `recommendation-communicated`.
    """
    _check_reason(command)
    check_known(case)
    if case.state is RequestState.FAILED:
        raise Refused("request-failed", "the request has failed: there is nothing to withdraw")
    if case.state is RequestState.WITHDRAWN:
        raise Refused("request-withdrawn", "the request was withdrawn already")
    current = case.recommendation
    if current is not None and current.state is RecommendationState.COMMUNICATED:
        raise _told(current)
    if command.replaced_by is not None:
        _check_replacement(case, replacement)
    return RequestWithdrawn(**dict(command))


def withdraw_decision(case: Case, decision_id: int, command: WithdrawDecision, by: str) -> DecisionWithdrawn:
    """Return the event of a decision that the person `by` takes back while it waits.

    Raises InvalidEvent, as `check_decision` does, Refused `nothing-to-withdraw`, `decision-of-another`.
    """
    _check_reason(command)
    current = check_decision(case, decision_id)
    waiting = current.waiting
    if waiting is None or waiting.id != decision_id:
        reason = "this decision does not wait for a confirmation: one that is in force is revoked"
        raise Refused("nothing-to-withdraw", reason, **facts_of(current))
    if waiting.by != by:
        raise Refused("decision-of-another", "only the person who decided withdraws the decision: decline it instead")
    return DecisionWithdrawn(**dict(command), recommendation_id=current.id, decision_id=decision_id)


def revoke(case: Case, decision_id: int, command: RevokeDecision) -> DecisionRevoked:
    """Return the event of a revoked approval, edit or rejection.

    Raises as `check_decision` does, Refused `recommendation-communicated`, `nothing-to-revoke`.
    """
    current = check_decision(case, decision_id)
    if current.state is RecommendationState.COMMUNICATED:
        raise _told(current)
    decision = current.decision
    if decision is None or decision.id != decision_id or current.state not in REVOCABLE:
        reason = "this is no approval, edit or rejection in force: one that waits is withdrawn or declined"
        raise Refused("nothing-to-revoke", reason, **facts_of(current))
    return DecisionRevoked(**dict(command), recommendation_id=current.id, decision_id=decision_id)


def expire(case: Case, decision_id: int, age_s: float) -> DecisionExpired | None:
    """Return the event of a decision that was recorded `age_s` seconds ago and that nobody confirmed in time.

    Return None if it does not wait, or not for too long.
    """
    current = case.recommendation
    waiting = None if current is None else current.waiting
    if current is None or waiting is None or waiting.id != decision_id or not waiting.overdue(age_s):
        return None
    return DecisionExpired(recommendation_id=current.id, decision_id=decision_id)


def _check_reason(command: WithdrawRequest | WithdrawDecision) -> None:
    if command.reason_code == "other" and command.rationale is None:
        raise InvalidEvent("rationale", "required with the reason code other")


def _check_replacement(case: Case, replacement: Case | None) -> None:
    if replacement is None or replacement.request is None or case.request is None:
        raise InvalidEvent("replaced_by", "there is no such request")
    if replacement.request.stream == case.request.stream:
        raise InvalidEvent("replaced_by", "a request does not replace itself")
    if replacement.state is RequestState.WITHDRAWN:
        raise InvalidEvent("replaced_by", "that request is withdrawn itself")


def _told(current: Recommendation) -> Refused:
    reason = "the client was already told: only a new recommendation can follow"
    return Refused("recommendation-communicated", reason, **facts_of(current))
