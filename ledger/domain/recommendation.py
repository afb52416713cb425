"""What people do with a recommendation: open it, decide on it, confirm a decision, tell the client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ledger.domain import answer_schemas
from ledger.domain.case import Case, Decision, Recommendation
from ledger.domain.four_eyes import FourEyes
from ledger.domain.reasons import ReasonCodes
from ledger.errors import InvalidEvent, NotFound, Refused
from schema.events import (
    RecommendationCommunicated,
    RecommendationConfirmed,
    RecommendationDecided,
    RecommendationOpened,
)

Outcome = Literal["approve", "edit", "reject", "respond"]


@dataclass(frozen=True)
class Verdict:
    """A person's decision, as they sent it."""

    digest: str
    outcome: Outcome
    reason_code: str | None = None
    rationale: str | None = None
    replacement: dict[str, Any] | None = None
    response: str | None = None


@dataclass(frozen=True)
class Edited:
    """What is edited: the answer, None where it was erased, and what the agent's answers have to look like."""

    original: dict[str, Any] | None
    answer_schema: str


# What each outcome takes, besides digest and outcome: (needed, allowed).
MEMBERS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "approve": (frozenset(), frozenset({"rationale"})),
    "edit": (frozenset({"replacement", "reason_code", "rationale"}), frozenset()),
    "reject": (frozenset({"reason_code", "rationale"}), frozenset()),
    "respond": (frozenset({"response"}), frozenset({"reason_code", "rationale"})),
}


def open_(case: Case, recommendation_id: int, digest: str) -> RecommendationOpened:
    """Raises as check_current does."""
    current = check_current(case, recommendation_id)
    waiting = current.decision if current.state == "waiting" else None
    if waiting is None or digest != waiting.result:  # who confirms has the replacement before them
        _check_digest(current, digest, current.standing)
    return RecommendationOpened(recommendation_id=current.id, digest=digest)


def decide(
    case: Case,
    recommendation_id: int,
    verdict: Verdict,
    edited: Edited | None,
    four_eyes: FourEyes,
    reasons: ReasonCodes,
) -> RecommendationDecided:
    """The decision, and whether it waits for a second person. `edited` is what an edit needs to know.

    Raises InvalidEvent for members that do not go with the outcome, as check_current does, and Refused
    `recommendation-waiting`, `recommendation-decided`, `digest-mismatch`, `answer-off-schema`.
    """
    _check_members(verdict)
    group = reasons.group(verdict.reason_code, verdict.outcome)
    current = check_current(case, recommendation_id)
    if current.state == "waiting":
        raise Refused("recommendation-waiting", "a decision on this waits for a second person already", **_now(current))
    if current.state != "proposed":
        raise Refused("recommendation-decided", f"this recommendation is {current.state} already", **_now(current))
    _check_digest(current, verdict.digest, current.digest)
    original = None if edited is None else edited.original
    if edited is not None and verdict.replacement is not None:
        if verdict.replacement == edited.original:
            raise InvalidEvent("replacement", "is what the agent answered: approve that")
        answer_schemas.check(edited.answer_schema, verdict.replacement, case.amount_usd, member="replacement")
    rules = four_eyes.rules_for(verdict.outcome, case.amount_usd, verdict.reason_code, original, verdict.replacement)
    return RecommendationDecided(
        recommendation_id=current.id,
        digest=verdict.digest,
        outcome=verdict.outcome,
        reason_code=verdict.reason_code,
        reason_group=group,
        reason_codes_version=None if group is None else reasons.version,
        rationale=verdict.rationale,
        replacement=verdict.replacement,
        response=verdict.response,
        needs_second=bool(rules),
        second_rules=rules,
        four_eyes_version=four_eyes.version,
    )


def confirm(
    case: Case,
    recommendation_id: int,
    said: RecommendationConfirmed,
    by: str,
    role: str,
    four_eyes: FourEyes,
) -> RecommendationConfirmed:
    """Raises as check_current does; Refused `nothing-waits`, `same-person`, `digest-mismatch`, `wrong-role`."""
    current = check_current(case, recommendation_id)
    waiting = _waiting(current, said.decision_id)
    if waiting.by == by:
        raise Refused("same-person", "who decided cannot be the second person as well")
    if role not in four_eyes.second_roles:
        roles = " or ".join(sorted(four_eyes.second_roles))
        raise Refused("wrong-role", f"the policy wants a second person in the role {roles}")
    _check_digest(current, said.digest, waiting.result)
    return said.model_copy(update={"four_eyes_version": four_eyes.version})


def communicate(case: Case, recommendation_id: int, said: RecommendationCommunicated) -> RecommendationCommunicated:
    """Raises as check_current does; Refused `not-approved`, `recommendation-communicated`, `digest-mismatch`."""
    current = check_current(case, recommendation_id)
    if current.state == "communicated":
        raise Refused("recommendation-communicated", "the client was told: only a new recommendation can follow")
    if current.state not in {"approved", "edited"}:
        raise Refused("not-approved", f"this recommendation is {current.state}: nobody approved it", **_now(current))
    _check_digest(current, said.digest, current.standing)
    return said


def check_current(case: Case, recommendation_id: int) -> Recommendation:
    """The current recommendation. Raises NotFound `recommendation-unknown`, Refused `recommendation-superseded`."""
    current = case.recommendation
    if current is not None and current.id == recommendation_id:
        return current
    if current is None or recommendation_id not in case.superseded:
        raise NotFound("recommendation-unknown", "there is no such recommendation")
    raise Refused("recommendation-superseded", "another recommendation has taken its place", **_now(current))


def _check_members(verdict: Verdict) -> None:
    needed, allowed = MEMBERS[verdict.outcome]
    for name in ("reason_code", "rationale", "replacement", "response"):
        given = getattr(verdict, name) is not None
        if given and name not in needed | allowed:
            raise InvalidEvent(name, f"does not go with the outcome {verdict.outcome}")
        if not given and name in needed:
            raise InvalidEvent(name, f"is needed with the outcome {verdict.outcome}")


def _waiting(current: Recommendation, decision_id: int) -> Decision:
    if current.state != "waiting" or current.decision is None or current.decision.id != decision_id:
        raise Refused("nothing-waits", "this decision does not wait for a second person", **_now(current))
    return current.decision


def _check_digest(current: Recommendation, said: str, meant: str) -> None:
    if said != meant:
        raise Refused(
            "digest-mismatch",
            "that is not the digest of what is to be decided on now; read it again",
            current_recommendation_id=current.id,
            current_digest=meant,
        )


def _now(current: Recommendation) -> dict[str, str | int]:
    return {"current_recommendation_id": current.id, "current_digest": current.standing, "state": current.state}
