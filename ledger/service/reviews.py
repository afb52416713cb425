"""Commands of reviewers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from ledger.domain.case import stream_of
from ledger.domain.history import RecordedEvent
from ledger.domain.review import review
from ledger.service.command import Command
from ledger.service.execute import Executor
from ledger.store.envelope import Actor, NewEvent
from ledger.store.events import Receipt
from ledger.store.head import read_head_async
from schema.events import CaseReviewed, ReviewCase


@dataclass(frozen=True)
class ReviewCommands:
    """Commands of reviewers about cases."""

    executor: Executor

    async def review(self, actor: Actor, request_id: int, body: ReviewCase, event_id: UUID | None = None) -> Receipt:
        """Record that the actor has looked at a case as of a position."""

        async def look() -> tuple[Sequence[RecordedEvent], int]:
            # The head first: the history then has each decision up to it.
            head = await self.executor.readers.run_short(read_head_async)
            [history] = await self.executor.readers.streams(stream)
            return history, 0 if head is None else head.position

        def decide(state: tuple[Sequence[RecordedEvent], int], new_id: UUID) -> list[NewEvent]:
            history, head = state
            event = review(history, body, actor.id, head)
            return [NewEvent(new_id, stream, event, actor, len(history), history[0].id)]

        stream = stream_of(request_id)
        members = body.model_dump(exclude_none=True)
        command = Command(actor, stream, CaseReviewed, members, event_id, unknown="request-unknown")
        return await self.executor.execute(command, look, decide)
