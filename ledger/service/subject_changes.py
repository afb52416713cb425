"""Commands about changes of subjects that need two administrators: propose, confirm, decline.

The access policy says whether changes need two. It does not bind operators at the command line, who have the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from ledger.domain import agent as agents
from ledger.domain import subject, subject_changes
from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.domain.subject import SubjectState
from ledger.domain.subject_commands import check_shown
from ledger.errors import StreamUnreadable
from ledger.service.clients import check_registered
from ledger.service.command import Command
from ledger.service.execute import Executor
from ledger.service.policies import InForce, Policies
from ledger.service.subjects import CheckFree
from ledger.store import events as store
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from schema.events import (
    ConfirmChange,
    CredentialIssued,
    DeclineChange,
    SubjectChangeConfirmed,
    SubjectChangeDeclined,
    SubjectChangeProposed,
)

# The members of a proposal that the ledger makes anew at each attempt.
PROPOSAL_DERIVED = frozenset({"expires_at"})
CHANGE_UNKNOWN = "change-unknown"


@dataclass(frozen=True)
class Confirmed:
    """A confirmed change. `credential` is the number of the credential that it issued, or None; `token`: it is a
    token."""

    receipt: Receipt
    subject: str
    change: str
    credential: int | None
    token: bool


@dataclass(frozen=True)
class _Found:
    """The stream of a subject, its state, the sealed values of the change, and the policy to record."""

    history: Sequence[RecordedEvent]
    state: SubjectState
    sealed: dict[str, Any]
    in_force: InForce


@dataclass(frozen=True)
class SubjectChanges:
    """Commands of administrators about changes that take two of them."""

    executor: Executor
    policies: Policies

    def needs_two(self, actor: Actor) -> bool:
        """Return True if a change by this actor has to be proposed."""
        return actor.judged is not None and self.policies.access.needs_two(actor.role)

    async def propose(
        self,
        actor: Actor,
        name: str,
        change: str,
        body: BaseModel,
        event_id: UUID | None = None,
        check_free: CheckFree | None = None,
    ) -> Receipt:
        """Record a proposal, if the change itself could be recorded now; `body` has the members of its event.

        Raises what the change itself would raise, and what `check_free` raises of the identity that it brings.
        """
        members = body.model_dump(exclude_none=True)

        async def look() -> _Found:
            await check_registered(self.executor.readers, members.get("clients"))
            if check_free is not None and "identity" in members:
                await check_free(members["issuer"], members["identity"])
            return await self._look(actor, name)

        def decide(found: _Found, new_id: UUID) -> list[NewEvent]:
            event = subject_changes.propose(found.state, name, change, members, self.executor.authority.clock())
            return found.in_force.before(NewEvent(new_id, stream, event, actor, found.state.version))

        stream = subject.stream_of(name)
        sent = subject_changes.proposal(change, members)
        command = Command(actor, stream, SubjectChangeProposed, sent, event_id, PROPOSAL_DERIVED)
        return await self.executor.execute(command, look, decide)

    async def confirm(
        self,
        actor: Actor,
        change_id: int,
        body: ConfirmChange,
        sha256: str,
        event_id: UUID | None = None,
        check_free: CheckFree | None = None,
    ) -> Confirmed:
        """Record a confirmation with the events of the change. `sha256` is the digest of the token, if it issues one.

        Raises NotFound and Refused as `check_confirmable` does, what the change itself raises, what `check_free` raises
        of the identity that it brings, and `token-issued` for a retry whose first answer had the token.
        """

        async def look() -> _Found:
            found = await self._look(actor, name, change_id)
            change = subject_changes.fold(found.history).get(change_id)
            if check_free is not None and change is not None and "identity" in found.sealed:
                await check_free(change.proposal.data["members"]["issuer"], found.sealed["identity"])
            return found

        def decide(found: _Found, new_id: UUID) -> list[NewEvent]:
            now = self.executor.authority.clock()
            changes = subject_changes.fold(found.history)
            change = subject_changes.check_confirmable(changes, change_id, actor.id, found.sealed, now)
            members = {**change.proposal.data["members"], **found.sealed}
            try:
                made = subject_changes.events(found.state, name, change.change, members, sha256, now)
            except MALFORMED as error:
                raise StreamUnreadable.at(stream, change_id) from error
            # The confirmation is last: its receipt is that of the command.
            events = [*made, SubjectChangeConfirmed(**dict(body), change_id=change_id)]
            first, *others = [
                NewEvent(new, stream, event, actor, found.state.version + number, proposal_id)
                for number, (event, new) in enumerate(zip(events, [*(uuid7() for _ in made), new_id], strict=True))
            ]
            return [*found.in_force.before(first), *others]

        stream, proposal_id = await self.executor.locate(change_id, SubjectChangeProposed.type, CHANGE_UNKNOWN)
        name = stream.removeprefix(subject.CATEGORY)
        command = self._answer(actor, stream, SubjectChangeConfirmed, change_id, body, event_id, proposal_id)
        receipt = await self.executor.execute(command, look, decide)
        [history] = await self.executor.readers.streams(stream)
        caused = [event for event in history if event.causation == str(proposal_id)]
        issued = next((event.data for event in caused if event.type == CredentialIssued.type), None)
        if issued is not None and issued["kind"] == "token":
            check_shown(sha256, issued["sha256"], issued["credential"])
        change = subject_changes.fold(history)[change_id].change
        token = issued is not None and issued["kind"] == "token"
        return Confirmed(receipt, name, change, None if issued is None else int(issued["credential"]), token)

    async def decline(
        self, actor: Actor, change_id: int, body: DeclineChange, event_id: UUID | None = None
    ) -> tuple[Receipt, str]:
        """Record that a change was declined, or withdrawn by its proposer; return the receipt and the subject.

        Raises NotFound and Refused as `check_answerable` does.
        """

        def decide(found: _Found, new_id: UUID) -> list[NewEvent]:
            now = self.executor.authority.clock()
            subject_changes.check_answerable(subject_changes.fold(found.history), change_id, now)
            event = SubjectChangeDeclined(**dict(body), change_id=change_id)
            return [NewEvent(new_id, stream, event, actor, found.state.version, proposal_id)]

        stream, proposal_id = await self.executor.locate(change_id, SubjectChangeProposed.type, CHANGE_UNKNOWN)
        name = stream.removeprefix(subject.CATEGORY)
        command = self._answer(actor, stream, SubjectChangeDeclined, change_id, body, event_id, proposal_id)
        receipt = await self.executor.execute(command, lambda: self._look(actor, name, change_id), decide)
        return receipt, name

    @staticmethod
    def _answer(
        actor: Actor,
        stream: str,
        kind: type[SubjectChangeConfirmed | SubjectChangeDeclined],
        change_id: int,
        body: BaseModel,
        event_id: UUID | None,
        proposal_id: UUID,
    ) -> Command:
        members = {**body.model_dump(exclude_none=True), "change_id": change_id}
        return Command(actor, stream, kind, members, event_id, causation=proposal_id)

    async def _look(self, actor: Actor, name: str, change_id: int | None = None) -> _Found:
        readers = self.executor.readers
        history, former, adopted = await readers.streams(
            subject.stream_of(name), agents.stream_of(name), self.policies.access.policy.stream
        )
        sealed = {} if change_id is None else await readers.run_short(lambda conn: store.sealed(conn, change_id))
        in_force = self.policies.access_in_force(adopted, actor)
        return _Found(history, subject.fold(history, former), sealed, in_force)
