"""Commands of reviewers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from ledger.domain.case import CATEGORY as REQUESTS
from ledger.domain.case import stream_of
from ledger.domain.client import check_open
from ledger.domain.client import stream_of as stream_of_client
from ledger.domain.history import RecordedEvent
from ledger.domain.review import check_range, review, review_range
from ledger.service.command import Command
from ledger.service.execute import Executor
from ledger.service.samples import Drawing, acted_in
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from ledger.store.head import read_head_async
from schema.events import CaseReviewed, ReviewCase
from schema.reviews import RangeReviewed, ReviewRange

# Reviews of ranges that do not belong to a single client.
RANGES = "range-"
RANGE_DERIVED = frozenset({"upto", "cases", "left_out"})


@dataclass(frozen=True)
class ReviewCommands:
    """Commands of reviewers about cases."""

    executor: Executor

    async def review(self, actor: Actor, request_id: int, body: ReviewCase, event_id: UUID | None = None) -> Receipt:
        """Record that the actor has looked at a case as of a position."""

        async def look() -> tuple[Sequence[RecordedEvent], int]:
            # Read the head first, so that the history has each decision up to it.
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

    async def review_range(
        self, actor: Actor, body: ReviewRange, find: Callable[[], Awaitable[Drawing]], event_id: UUID | None = None
    ) -> Receipt:
        """Record that the actor has looked at all cases with a decision that `find` returns: all or none.

        Raises InvalidEvent; NotFound `client-unknown`; Refused `client-merged`, `range-empty`, `range-too-large` or
        `same-person`; ClientErased if a client was erased meanwhile.
        """
        check_range(body, limited=actor.scope is not None)

        async def look() -> _Range:
            if body.client is not None:
                check_open(await self.executor.client(body.client))
            found = await find()
            streams = {int(stream.removeprefix(REQUESTS)): stream for stream in found.streams.values()}
            names = await acted_in(self.executor, streams.values())
            return _Range(found.upto, {number: names.get(stream, frozenset()) for number, stream in streams.items()})

        def decide(found: _Range, new_id: UUID) -> list[NewEvent]:
            event = review_range(found.acted, body, actor.id, found.upto)
            one = CaseReviewed(upto=found.upto, disposition=body.disposition, note=body.note)
            cases = [NewEvent(uuid7(), stream_of(number), one, actor, "any", new_id) for number in event.cases]
            # The range comes last, because its receipt is that of the command.
            return [*cases, NewEvent(new_id, stream, event, actor)]

        stream = RANGES if body.client is None else stream_of_client(body.client)
        members = body.model_dump(exclude_none=True)
        return await self.executor.execute(
            Command(actor, stream, RangeReviewed, members, event_id, RANGE_DERIVED), look, decide
        )

    async def range(self, receipt: Receipt) -> RecordedEvent:
        """Return the event of a review of a range, with its values."""
        found = await self.executor.find(receipt.id)
        assert found is not None, "it was recorded"
        return found[1]


@dataclass(frozen=True)
class _Range:
    """The subjects who acted in each case of a range, by request, as of the position `upto`."""

    upto: int
    acted: Mapping[int, frozenset[str]]
