"""Commands about legal holds: place, release."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from ledger.domain import legal_hold
from ledger.domain.case import CATEGORY as REQUESTS
from ledger.domain.client import check_open, number_of, stream_of
from ledger.domain.client import fold as fold_client
from ledger.domain.history import RecordedEvent
from ledger.errors import NotFound
from ledger.service.command import Command
from ledger.service.execute import Executor
from ledger.store.envelope import Actor, NewEvent
from ledger.store.events import Receipt
from schema.events import LegalHoldPlaced, LegalHoldReleased, PlaceHold, ReleaseHold

# The number of the client to which a stream belongs. Requests of earlier versions do not name it.
OWNER = (
    "SELECT stream_number(c.stream, 'client-') FROM stream_clients s"
    " JOIN stream_clients c ON c.client_id = s.client_id AND c.stream LIKE 'client-%%' WHERE s.stream = %s"
)


@dataclass(frozen=True)
class LegalHoldCommands:
    """Commands about legal holds."""

    executor: Executor

    async def place(self, actor: Actor, number: int, hold: PlaceHold, event_id: UUID | None = None) -> Receipt:
        """Place a hold on a client, or on one of its cases.

        Raises NotFound `client-unknown` or `request-unknown`; Refused `client-merged`.
        """
        event = LegalHoldPlaced.model_validate(dict(hold))

        async def look() -> list[RecordedEvent]:
            [history] = await self.executor.readers.streams(stream_of(number))
            if history and event.request_id is not None:
                await self._check_case(number, event.request_id)
            return history

        def decide(history: list[RecordedEvent], new_id: UUID) -> list[NewEvent]:
            check_open(fold_client(number, history))
            return [NewEvent(new_id, stream_of(number), event, actor, len(history))]

        return await self.executor.execute(Command.of_event(actor, stream_of(number), event, event_id), look, decide)

    async def release(self, actor: Actor, hold_id: int, release: ReleaseHold, event_id: UUID | None = None) -> Receipt:
        """Release a hold. Raises NotFound `legal-hold-unknown`, Refused `legal-hold-released`."""
        stream, placed = await self.executor.locate(hold_id, LegalHoldPlaced.type, "legal-hold-unknown")
        event = LegalHoldReleased(hold_id=hold_id, **dict(release))

        async def look() -> list[RecordedEvent]:
            [history] = await self.executor.readers.streams(stream)
            return history

        def decide(history: list[RecordedEvent], new_id: UUID) -> list[NewEvent]:
            legal_hold.check_release(legal_hold.fold(history), hold_id)
            return [NewEvent(new_id, stream, event, actor, len(history), causation=placed)]

        command = Command.of_event(actor, stream, event, event_id)
        return await self.executor.execute(replace(command, unknown="legal-hold-unknown"), look, decide)

    async def _check_case(self, number: int, request_id: int) -> None:
        """Raise NotFound `request-unknown` unless the case belongs to this client, under any of its identifiers."""
        row = await self.executor.readers.fetch_one(OWNER, [f"{REQUESTS}{request_id}"])
        owner = None if row is None else (await self.executor.lineage(int(row[0])))[-1].number
        if owner != number:
            raise NotFound("request-unknown", "this client has no such request")


def client_of(receipt: Receipt) -> int:
    """Return the number of the client that an event about a hold concerns."""
    return number_of(receipt.stream)
