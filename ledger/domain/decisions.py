"""Commands of people about a recommendation: open, decide, confirm, communicate.

Each function takes the state of the request and a command, and returns the event to record or raises a named refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ledger.domain import answer_schemas
from ledger.domain.case import APPROVED, Case, Recommendation
from ledger.domain.four_eyes import FourEyes
from ledger.domain.reasons import ReasonCodes
from ledger.errors import InvalidEvent, NotFound, Refused
from schema.events import (
    Communicate,
    Confirm,
    Decide,
    Open,
    RecommendationCommunicated,
    RecommendationConfirmed,
    RecommendationDecided,
    RecommendationOpened,
)
from schema.states import RecommendationState


@dataclass(frozen=True)
class Edited:
    """The answer that an edit replaces (None if it was erased), and the schema that the replacement must follow."""

    original: dict[str, Any] | None
    answer_schema: str


# The members that each outcome takes besides digest and outcome: (required, optional).
MEMBERS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "approve": (frozenset(), frozenset({"rationale"})),
    "edit": (frozenset({"replacement", "reason_code", "rationale"}), frozenset()),
    "reject": (frozenset({"reason_code", "rationale"}), frozenset()),
    "respond": (frozenset({"response"}), frozenset({"reason_code", "rationale"})),
}


def open_(case: Case, recommendation_id: int, command: Open) -> RecommendationOpened:
    """Return the event of an opening. Raises as `check_current` does, and Refused `digest-mismatch`."""
    current = check_current(case, recommendation_id)
    if (
        current.waiting is None or command.digest != current.waiting.digest
    ):  # the confirmer of an edit opens its replacement
        _check_digest(current, command.digest, current.current_digest)
    return RecommendationOpened(recommendation_id=current.id, digest=command.digest)


def decide(
    case: Case,
    recommendation_id: int,
    command: Decide,
    edited: Edited | None,
    four_eyes: FourEyes,
    reasons: ReasonCodes,
) -> RecommendationDecided:
    """Return the event of a decision, which says whether it waits for a confirmation. An edit needs `edited`.

    Raises InvalidEvent for members that do not go with the outcome, as `check_live` does, and Refused
    `recommendation-waiting`, `recommendation-decided`, `digest-mismatch`, `answer-off-schema`.
    """
    _check_members(command)
    group = reasons.group(command.reason_code, command.outcome)
    current = check_live(case, recommendation_id)
    if current.waiting is not None:
        raise Refused(
            "recommendation-waiting", "a decision on it already waits for a confirmation", **facts_of(current)
        )
    if current.state is not RecommendationState.PROPOSED:
        raise Refused("recommendation-decided", f"this recommendation is already {current.state}", **facts_of(current))
    _check_digest(current, command.digest, current.digest)
    original = None if edited is None else edited.original
    if edited is not None and command.replacement is not None:
        if command.replacement == edited.original:
            raise InvalidEvent("replacement", "equals the agent's answer: approve the answer instead")
        answer_schemas.check(edited.answer_schema, command.replacement, case.amount_usd, member="replacement")
    rules = four_eyes.rules_for(command.outcome, case.amount_usd, command.reason_code, original, command.replacement)
    return RecommendationDecided(
        **dict(command),
        recommendation_id=current.id,
        reason_group=group,
        reason_codes_version=None if group is None else reasons.version,
        needs_second=bool(rules),
        second_rules=rules,
        four_eyes_version=four_eyes.version,
        confirm_within_hours=four_eyes.confirm_within_hours if rules else None,
    )


@dataclass(frozen=True)
class Confirmer:
    """The confirmer, and the role in which it acts."""

    id: str
    role: str


def confirm(
    case: Case, decision_id: int, command: Confirm, by: Confirmer, four_eyes: FourEyes, age_s: float = 0.0
) -> RecommendationConfirmed:
    """Return the event of a confirmation of a decision that was recorded `age_s` seconds ago.

    Raises InvalidEvent without a rationale to decline; as `check_decision` does; Refused `nothing-to-confirm`,
    `same-person`, `wrong-role`, `digest-mismatch`, `decision-overdue`.
    """
    if command.outcome == "decline" and command.rationale is None:
        raise InvalidEvent("rationale", "required with the outcome decline: the next person has to know why")
    current = check_decision(case, decision_id)
    waiting = current.waiting
    if waiting is None or waiting.id != decision_id:
        raise Refused("nothing-to-confirm", "this decision does not wait for a confirmation", **facts_of(current))
    if waiting.by == by.id:
        raise Refused("same-person", "the person who decided cannot confirm the decision")
    if by.role not in four_eyes.second_roles:
        roles = " or ".join(sorted(four_eyes.second_roles))
        raise Refused("wrong-role", f"the four-eyes policy requires a confirmer in the role {roles}")
    _check_digest(current, command.digest, waiting.digest)
    if waiting.overdue(age_s):
        raise Refused("decision-overdue", "the time to confirm it is over: decide again", **facts_of(current))
    return RecommendationConfirmed(
        **dict(command),
        recommendation_id=current.id,
        decision_id=decision_id,
        four_eyes_version=four_eyes.version,
    )


def communicate(case: Case, recommendation_id: int, command: Communicate) -> RecommendationCommunicated:
    """Return the event of a communication.

    Raises as `check_live` does, and Refused `not-approved`, `recommendation-communicated`, `digest-mismatch`.
    """
    current = check_live(case, recommendation_id)
    if current.state is RecommendationState.COMMUNICATED:
        raise Refused(
            "recommendation-communicated", "the client was already told: only a new recommendation can follow"
        )
    if current.state not in APPROVED:
        raise Refused("not-approved", f"this recommendation is {current.state}, not approved", **facts_of(current))
    _check_digest(current, command.digest, current.current_digest)
    return RecommendationCommunicated(**dict(command), recommendation_id=current.id)


def check_current(case: Case, recommendation_id: int) -> Recommendation:
    """Return the current recommendation.

    Raises NotFound `recommendation-unknown`, Refused `recommendation-superseded`.
    """
    current = case.recommendation
    if current is not None and current.id == recommendation_id:
        return current
    if current is None or recommendation_id not in case.superseded:
        raise NotFound("recommendation-unknown", "there is no such recommendation")
    raise Refused("recommendation-superseded", "a newer recommendation supersedes this one", **facts_of(current))


def check_live(case: Case, recommendation_id: int) -> Recommendation:
    """Return the current recommendation of a request that is not withdrawn.

    Raises as `check_current` does, and Refused `request-withdrawn`.
    """
    current = check_current(case, recommendation_id)
    if current.state is RecommendationState.WITHDRAWN:
        raise Refused("request-withdrawn", "the request was withdrawn: nothing is decided on it", **facts_of(current))
    return current


def check_decision(case: Case, decision_id: int) -> Recommendation:
    """Return the recommendation that a decision is about, if it is current and its request stands.

    Raises NotFound `decision-unknown`, and as `check_live` does.
    """
    if decision_id not in case.decisions:
        raise NotFound("decision-unknown", "there is no such decision")
    return check_live(case, case.decisions[decision_id])


def facts_of(current: Recommendation) -> dict[str, str | int]:
    """Return the members of a refusal that state the present situation."""
    return {"current_recommendation_id": current.id, "current_digest": current.current_digest, "state": current.state}


def _check_members(command: Decide) -> None:
    required, optional = MEMBERS[command.outcome]
    for name in ("reason_code", "rationale", "replacement", "response"):
        present = getattr(command, name) is not None
        if present and name not in required | optional:
            raise InvalidEvent(name, f"not allowed with the outcome {command.outcome}")
        if not present and name in required:
            raise InvalidEvent(name, f"required with the outcome {command.outcome}")


def _check_digest(current: Recommendation, digest: str, expected: str) -> None:
    if digest != expected:
        raise Refused(
            "digest-mismatch",
            "this is not the digest of the current content; read the recommendation again",
            current_recommendation_id=current.id,
            current_digest=expected,
        )
