"""Changes of a subject that take two administrators: proposed by one, confirmed or declined by another one. Pure.

    pending --subject.change-confirmed--> confirmed
            --subject.change-declined---> declined
            --another change of the subject--> outdated
            --seven days--> expired

All of it is in the subject's own stream. A change that is pending has no effect on who may do what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from ledger.domain import subject_commands
from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.domain.subject import APPLY, SubjectState, moment
from ledger.domain.subject_commands import NewToken
from ledger.errors import NotFound, Refused, StreamUnreadable
from schema.events import (
    CredentialIssued,
    Event,
    IssueToken,
    RegisterIdentity,
    SubjectChangeConfirmed,
    SubjectChangeDeclined,
    SubjectChangeProposed,
    SubjectGroupJoined,
    SubjectGroupLeft,
    SubjectRegistered,
    SubjectResumed,
    SubjectRoleGranted,
)
from schema.states import ChangeState

EXPIRES_AFTER = timedelta(days=7)
# The events about changes.
CHANGES = (SubjectChangeProposed.type, SubjectChangeConfirmed.type, SubjectChangeDeclined.type)
# The changes that may need two administrators. One is enough to suspend, and to revoke a role or a credential, because
# that cannot wait.
TakesTwo = SubjectRoleGranted | SubjectResumed | SubjectGroupJoined | SubjectGroupLeft
TAKE_TWO: Mapping[str, type[TakesTwo]] = {
    kind.type: kind for kind in (SubjectRoleGranted, SubjectResumed, SubjectGroupJoined, SubjectGroupLeft)
}
# Stands for the token's digest until there is a token.
NO_TOKEN = "0" * 64


@dataclass(frozen=True)
class ProposedChange:
    """The state of a proposed change. `answer` is the event that confirmed or declined it; None without one."""

    proposal: RecordedEvent
    expires_at: datetime
    outdated: bool = False
    answer: RecordedEvent | None = None

    @property
    def id(self) -> int:
        """The position of the proposal."""
        return self.proposal.position

    @property
    def change(self) -> str:
        """The type of the event to record."""
        return str(self.proposal.data["change"])

    def state(self, now: datetime) -> ChangeState:
        """Return the state at a moment."""
        if self.answer is not None:
            confirmed = self.answer.type == SubjectChangeConfirmed.type
            return ChangeState.CONFIRMED if confirmed else ChangeState.DECLINED
        if self.outdated:
            return ChangeState.OUTDATED
        return ChangeState.PENDING if now < self.expires_at else ChangeState.EXPIRED


def fold(history: Iterable[RecordedEvent]) -> dict[int, ProposedChange]:
    """Return the changes that were proposed in a subject's stream, by id. Raises StreamUnreadable."""
    changes: dict[int, ProposedChange] = {}
    for event in history:
        try:
            if event.type == SubjectChangeProposed.type:
                changes[event.position] = _proposed(event)
            elif event.type in CHANGES:
                answered = changes.get(event.data["change_id"])
                if answered is not None and answered.answer is None:
                    changes[answered.id] = replace(answered, answer=event)
        except MALFORMED as error:
            raise StreamUnreadable.at(event.stream, event.position) from error
        if event.type in APPLY:
            changes = {id_: replace(one, outdated=True) for id_, one in changes.items()}
    return changes


def propose(
    state: SubjectState, name: str, change: str, members: Mapping[str, Any], now: datetime
) -> SubjectChangeProposed:
    """Return the event of a proposal. Raises the errors that the change itself would raise now."""
    events(state, name, change, members, NO_TOKEN, now)
    expires_at = (now + EXPIRES_AFTER).replace(microsecond=0)
    return SubjectChangeProposed.model_validate(
        {**proposal(change, members), "expires_at": f"{expires_at.replace(tzinfo=None).isoformat()}Z"}
    )


def proposal(change: str, members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a proposal that follow from this change."""
    sealed = {name: value for name, value in members.items() if name in SubjectChangeProposed.sealed}
    clear = {name: value for name, value in members.items() if name not in sealed}
    return {"change": change, "members": clear, **sealed}


def check_answerable(changes: Mapping[int, ProposedChange], change_id: int, now: datetime) -> ProposedChange:
    """Return the change if it is pending.

    Raises NotFound `change-unknown`; Refused `change-answered`, `change-outdated`, `change-expired`.
    """
    if change_id not in changes:
        raise NotFound("change-unknown", "there is no such change")
    match (change := changes[change_id]).state(now):
        case ChangeState.CONFIRMED | ChangeState.DECLINED:
            raise Refused("change-answered", "this change was confirmed or declined already")
        case ChangeState.OUTDATED:
            raise Refused("change-outdated", "the subject has changed since this was proposed: propose it again")
        case ChangeState.EXPIRED:
            raise Refused("change-expired", "nobody confirmed this change in time: propose it again")
    return change


def check_confirmable(
    changes: Mapping[int, ProposedChange], change_id: int, by: str, sealed: Mapping[str, Any], now: datetime
) -> ProposedChange:
    """Return the change if the subject `by` may confirm it, in whatever role. `sealed` are its sealed values.

    Raises as `check_answerable` does, Refused `same-person`, and `change-outdated` if a value was erased.
    """
    change = check_answerable(changes, change_id, now)
    if change.proposal.by == by:
        raise Refused("same-person", "the administrator who proposed the change cannot confirm it")
    if change.proposal.content.get("sealed", {}).keys() - sealed.keys():
        raise Refused("change-outdated", "a value of this change was erased: propose it again")
    return change


def events(
    state: SubjectState, name: str, change: str, members: Mapping[str, Any], sha256: str, now: datetime
) -> list[Event]:
    """Return the events of a change, with a token of this digest if it issues one. Raises the errors of the change."""
    if change == SubjectRegistered.type:
        return subject_commands.register(state, name, SubjectRegistered.model_validate(members))
    if change == CredentialIssued.type and "identity" in members:
        body = RegisterIdentity.model_validate(members)
        return [subject_commands.register_identity(state, body.issuer or "", body.identity, body.expires_at, now)]
    if change == CredentialIssued.type:
        return [subject_commands.issue(state, NewToken(sha256, **IssueToken.model_validate(members).model_dump()), now)]
    event = TAKE_TWO[change].model_validate(members)
    subject_commands.check_change(state, event, now)
    return [event]


def _proposed(event: RecordedEvent) -> ProposedChange:
    expires_at = moment(event.data["expires_at"])
    if expires_at is None or not isinstance(event.data["members"], dict) or not isinstance(event.data["change"], str):
        raise ValueError("a proposal without an end, members or a type")
    return ProposedChange(event, expires_at)
