"""Commands about subjects: register, change, issue tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from ledger.domain import subject, subject_commands
from ledger.domain.agent import RESERVED
from ledger.domain.subject import SubjectState
from ledger.domain.subject_commands import Change, NewToken
from ledger.service.clients import check_registered
from ledger.service.command import Command
from ledger.service.execute import Executor
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from schema.events import CredentialIssued, Event, SubjectRegistered, SubjectRoleGranted

Decide = Callable[[SubjectState, UUID], list[NewEvent]]
# Raises Refused if somebody already has this identity (issuer and `sub`).
CheckFree = Callable[[str, str], Awaitable[None]]

# The members of an issued credential that the ledger adds, or makes anew at each attempt.
ISSUE_DERIVED = frozenset({"credential", "sha256", "replaces"})


@dataclass(frozen=True)
class SubjectCommands:
    """Commands of administrators and operators about subjects."""

    executor: Executor

    async def register(
        self,
        actor: Actor,
        name: str,
        event: SubjectRegistered,
        roles: Sequence[str] = (),
        token: NewToken | None = None,
        event_id: UUID | None = None,
    ) -> Receipt:
        """Register a subject, with roles and a token if given."""

        def decide(state: SubjectState, new_id: UUID) -> list[NewEvent]:
            first, *others = subject_commands.register(state, name, event, roles, token)
            # Roles and a token need the subject to exist, so the command's own event is the first of the batch.
            return _batch(actor, name, state, [first, *others], [new_id, *(uuid7() for _ in others)])

        return await self._execute(Command.of_event(actor, subject.stream_of(name), event, event_id), name, decide)

    async def change(self, actor: Actor, name: str, event: Change, event_id: UUID | None = None) -> Receipt:
        """Record a change of roles, groups, suspension or credentials."""

        async def look() -> SubjectState:
            if isinstance(event, SubjectRoleGranted):
                await check_registered(self.executor.readers, event.clients)
            return await self.executor.authority.state(name)

        def decide(state: SubjectState, new_id: UUID) -> list[NewEvent]:
            # Agents of the server itself become subjects when they first act, or when somebody first names them.
            first = subject_commands.builtin() if name in RESERVED and state.kind is None else []
            if not first:
                subject_commands.check_change(state, event, self.executor.authority.clock())
            return _batch(actor, name, state, [*first, event], [*(uuid7() for _ in first), new_id])

        command = Command.of_event(actor, subject.stream_of(name), event, event_id)
        return await self.executor.execute(command, look, decide)

    async def issue(
        self, actor: Actor, name: str, token: NewToken, event_id: UUID | None = None, *, rotate: bool = False
    ) -> Receipt:
        """Issue a token. With `rotate`, replace a token: the one that `token` names, or else the only valid one."""

        def decide(state: SubjectState, new_id: UUID) -> list[NewEvent]:
            now = self.executor.authority.clock()
            replaces = subject_commands.only_token(state, now) if rotate and token.replaces is None else token.replaces
            event = subject_commands.issue(state, NewToken(**{**vars(token), "replaces": replaces}), now)
            return _batch(actor, name, state, [event], [new_id])

        members = {name: value for name, value in vars(token).items() if value is not None and name != "sha256"}
        members |= {"kind": "token"}
        derived = ISSUE_DERIVED if token.replaces is None else ISSUE_DERIVED - {"replaces"}
        command = Command(actor, subject.stream_of(name), CredentialIssued, members, event_id, derived)
        return await self._execute(command, name, decide)

    async def issue_shown(
        self, actor: Actor, name: str, token: NewToken, event_id: UUID | None = None
    ) -> tuple[Receipt, int]:
        """Issue a token that the caller shows; return the receipt, and the number of the credential.

        Raises Refused `token-issued` for a retry: the first answer had another token, which nobody can show again.
        """
        receipt = await self.issue(actor, name, token, event_id)
        issued = await self.executor.find(receipt.id)
        assert issued is not None, "it has just been recorded"
        data = issued[1].data
        subject_commands.check_shown(token.sha256, data["sha256"], data["credential"])
        return receipt, int(data["credential"])

    async def register_identity(
        self,
        actor: Actor,
        name: str,
        issuer: str,
        identity: str,
        expires_at: str | None,
        event_id: UUID | None = None,
        check_free: CheckFree | None = None,
    ) -> tuple[Receipt, int]:
        """Give a subject an identity at an OpenID Connect provider; return the receipt, and the credential's number.

        `check_free` raises Refused if the identity is somebody's.
        """

        async def look() -> SubjectState:
            if check_free is not None:
                await check_free(issuer, identity)
            return await self.executor.authority.state(name)

        def decide(state: SubjectState, new_id: UUID) -> list[NewEvent]:
            now = self.executor.authority.clock()
            event = subject_commands.register_identity(state, issuer, identity, expires_at, now)
            return _batch(actor, name, state, [event], [new_id])

        members = {"kind": "oidc", "issuer": issuer, "identity": identity}
        if expires_at is not None:
            members["expires_at"] = expires_at
        command = Command(
            actor, subject.stream_of(name), CredentialIssued, members, event_id, frozenset({"credential"})
        )
        receipt = await self.executor.execute(command, look, decide)
        issued = await self.executor.find(receipt.id)
        assert issued is not None, "it has just been recorded"
        return receipt, int(issued[1].data["credential"])

    async def _execute(self, command: Command, name: str, decide: Decide) -> Receipt:
        return await self.executor.execute(command, lambda: self.executor.authority.state(name), decide)


def _batch(
    actor: Actor, name: str, state: SubjectState, events: Sequence[Event], ids: Sequence[UUID]
) -> list[NewEvent]:
    stream = subject.stream_of(name)
    return [
        NewEvent(event_id, stream, event, actor, state.version + number)
        for number, (event, event_id) in enumerate(zip(events, ids, strict=True))
    ]
