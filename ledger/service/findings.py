"""Commands about findings: open, assign, close."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from ledger.domain import client, finding
from ledger.domain.case import stream_of as stream_of_case
from ledger.domain.history import RecordedEvent
from ledger.service.command import Command
from ledger.service.execute import Executor
from ledger.store.envelope import Actor, NewEvent
from ledger.store.events import Receipt
from schema.events import Event
from schema.findings import (
    AssignFinding,
    CloseFinding,
    FindingAssigned,
    FindingClosed,
    FindingOpened,
    OpenCaseFinding,
    OpenFinding,
)

History = Sequence[RecordedEvent]


@dataclass(frozen=True)
class FindingCommands:
    """Commands about findings."""

    executor: Executor

    async def open_in_case(
        self, actor: Actor, request_id: int, body: OpenCaseFinding, event_id: UUID | None = None
    ) -> Receipt:
        """Open a finding about a case. Raises NotFound `request-unknown`, `decision-unknown`."""
        command = Command(
            actor, stream_of_case(request_id), FindingOpened, _members(body), event_id, unknown="request-unknown"
        )
        return await self._execute(command, lambda history: finding.open_in_case(history, body))

    async def open_of_client(
        self, actor: Actor, number: int, body: OpenFinding, event_id: UUID | None = None
    ) -> Receipt:
        """Open a finding about a client. Raises NotFound `client-unknown`, Refused `client-merged`."""

        def decide(history: History) -> Event:
            client.check_open(client.fold(number, history))
            return finding.open_of_client(body)

        command = Command(actor, client.stream_of(number), FindingOpened, _members(body), event_id)
        return await self._execute(command, decide)

    async def assign(self, actor: Actor, finding_id: int, body: AssignFinding, event_id: UUID | None = None) -> Receipt:
        """Assign a finding. Raises NotFound `finding-unknown`, InvalidEvent `assignee`, Refused `finding-closed`."""

        async def check() -> None:
            state = await self.executor.authority.state(body.assignee)
            finding.check_assignee(body.assignee, state.kind, suspended=state.suspended)

        command, opened = await self._about(actor, finding_id, FindingAssigned, body, event_id)
        return await self._execute(command, lambda history: finding.assign(history, finding_id, body), opened, check)

    async def close(self, actor: Actor, finding_id: int, body: CloseFinding, event_id: UUID | None = None) -> Receipt:
        """Close a finding. Raises NotFound `finding-unknown`, Refused `finding-closed`, `same-person`."""
        command, opened = await self._about(actor, finding_id, FindingClosed, body, event_id)
        return await self._execute(command, lambda history: finding.close(history, finding_id, body, actor.id), opened)

    async def _about(
        self,
        actor: Actor,
        finding_id: int,
        kind: type[Event],
        body: AssignFinding | CloseFinding,
        event_id: UUID | None,
    ) -> tuple[Command, UUID]:
        stream, opened = await self.executor.locate(finding_id, FindingOpened.type, "finding-unknown")
        members = {"finding_id": finding_id, **_members(body)}
        return Command(actor, stream, kind, members, event_id, unknown="finding-unknown"), opened

    async def _execute(
        self,
        command: Command,
        make: Callable[[History], Event],
        causation: UUID | None = None,
        check: Callable[[], Awaitable[None]] | None = None,
    ) -> Receipt:
        async def look() -> History:
            # Check this here and not earlier: a command that is already recorded gets its answer, whatever has changed
            # since.
            if check is not None:
                await check()
            [history] = await self.executor.readers.streams(command.stream)
            return history

        def decide(history: History, new_id: UUID) -> list[NewEvent]:
            return [NewEvent(new_id, command.stream, make(history), command.actor, len(history), causation)]

        return await self.executor.execute(command, look, decide)


def _members(body: OpenFinding | AssignFinding | CloseFinding) -> dict[str, object]:
    return body.model_dump(exclude_none=True)
