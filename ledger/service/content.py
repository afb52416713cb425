"""Record content of model calls that arrives separately, as log records of OpenTelemetry, before or after the call.

Content whose call is on record is recorded in the stream of the call. Content that comes first is held in a stream of
its own, `content-UUID`, where UUID is the id that the call's start will have. When the call arrives, the same
transaction records the held content again in the call's stream. It also records that in the held stream, with the
call's client. So held content is found, and erased, with all other data about the client. A lot of content is joined
in further transactions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from ledger.domain.case import CATEGORY
from ledger.domain.history import RecordedEvent
from ledger.errors import LedgerError, Unavailable
from ledger.service.closed_cases import takes_calls
from ledger.service.command import CallContent, Command
from ledger.service.execute import Executor
from ledger.service.grouped import grouped
from ledger.store import events as store
from ledger.store.envelope import Actor, NewEvent, idempotent_id
from schema.events import ModelCallContentJoined, ModelCallContentRecorded

# The most held items that are joined in one transaction, because each may have megabytes.
MOST_AT_ONCE = 10


@dataclass(frozen=True)
class ContentCommands:
    """Commands of agents about content of model calls."""

    executor: Executor

    async def record(self, contents: Sequence[CallContent]) -> list[LedgerError | None]:
        """Record content, each item on its own; return for each None, or the reason for which it is not recorded.

        Items of one call are recorded in the given order. Content of a suspended agent is recorded too. Content of a
        call whose case is closed is refused.
        """
        return await grouped(contents, lambda content: content.started_id, self._of_call)

    async def _of_call(self, contents: list[CallContent]) -> list[LedgerError | None]:
        """Record content of one call. Held content is looked up once, not for each item."""
        actor, started_id = contents[0].actor, contents[0].started_id
        try:
            # A crash may have left content that is not joined.
            stream = await self._join(actor, started_id)
            closed = None if stream is None else await takes_calls(self.executor, stream)
            if isinstance(closed, LedgerError):
                known = await self.executor.recorded([_in_call_id(actor, content.event_id) for content in contents])
                return [
                    await self._record(content, stream) if _in_call_id(actor, content.event_id) in known else closed
                    for content in contents
                ]
            results = [await self._record(content, stream) for content in contents]
            if stream is None:
                # The call may have been recorded since the look-up above. Otherwise it will find the content.
                await self._join(actor, started_id)
        except LedgerError as error:
            return [error] * len(contents)
        return results

    async def _join(self, actor: Actor, started_id: UUID) -> str | None:
        """Join held content to its call; return the stream of the call, or None if it is not recorded."""
        call = await self.executor.find(started_id)
        if call is None:
            return None
        await join(self.executor, actor, started_id, call[1].stream)
        return call[1].stream

    async def _record(self, content: CallContent, stream: str | None) -> LedgerError | None:
        """Record an item in the stream of its call, or hold it without one; return the reason if it is not recorded."""
        actor, event_id, event, started_id = content.actor, content.event_id, content.event, content.started_id
        held = NewEvent(event_id, held_stream(started_id), event, actor)
        new = held if stream is None else _in_call(actor, event_id, event, started_id, stream)
        try:
            await _append(self.executor, [new])
        except Unavailable:
            raise
        except LedgerError as error:
            return error
        return None


def held_stream(started_id: UUID) -> str:
    """Return the name of the stream that holds content until its call is recorded."""
    return f"content-{started_id}"


async def join(executor: Executor, actor: Actor, started_id: UUID, stream: str) -> None:
    """Join the remaining held content to the call in `stream`, some items at a time."""
    waiting = True
    while waiting:
        [held] = await executor.readers.streams(held_stream(started_id))
        waiting = False
        async for events in joining(executor, actor, started_id, stream, held):
            await _append(executor, events)
            waiting = True


async def joining(
    executor: Executor, actor: Actor, started_id: UUID, stream: str, held: Sequence[RecordedEvent]
) -> AsyncIterator[list[NewEvent]]:
    """Yield the events that join held content to its call in `stream`, in one list for each transaction.

    `held` is the history of the stream with held content. The call's stream is not read: it may be long, and each of
    its calls may have content. The last event of all is in the stream with held content. Raises Unavailable.
    """
    contents = [event for event in held if event.type == ModelCallContentRecorded.type]
    joined_id = idempotent_id(actor.id, f"content-joined:{started_id}:{len(contents)}")
    if not contents or any(event.id == joined_id for event in held):
        return
    copied = await executor.recorded([_in_call_id(actor, event.id) for event in contents])
    waiting = [event.id for event in contents if _in_call_id(actor, event.id) not in copied]
    while len(waiting) > MOST_AT_ONCE:
        yield await _copies(executor, actor, started_id, stream, waiting[:MOST_AT_ONCE])
        waiting = waiting[MOST_AT_ONCE:]
    copies = await _copies(executor, actor, started_id, stream, waiting)
    joined = ModelCallContentJoined(client_id=await _client(executor, stream))
    yield [*copies, NewEvent(joined_id, held_stream(started_id), joined, actor, causation=started_id)]


async def _copies(
    executor: Executor, actor: Actor, started_id: UUID, stream: str, held_ids: Sequence[UUID]
) -> list[NewEvent]:
    """Return the events with these ids as events of the stream of their call."""
    found = [row[1] for event_id in held_ids if (row := await executor.find(event_id)) is not None]
    return [
        _in_call(actor, event.id, ModelCallContentRecorded.model_validate(event.members), started_id, stream)
        for event in found
    ]


async def _append(executor: Executor, events: list[NewEvent]) -> None:
    """Append these events, unless the last one is already on record."""
    last = events[-1]
    command = Command.of_event(last.actor, last.stream, last.event, last.id)

    async def look() -> None:
        """Return None: the state decides nothing."""

    await executor.execute(command, look, lambda _state, _new_id: events)


def _in_call(actor: Actor, event_id: UUID, event: ModelCallContentRecorded, started_id: UUID, stream: str) -> NewEvent:
    """Return the event in the stream of its call. It is the same whether or not the content was held before."""
    return NewEvent(_in_call_id(actor, event_id), stream, event, actor, causation=started_id)


def _in_call_id(actor: Actor, event_id: UUID) -> UUID:
    return idempotent_id(actor.id, f"in-call:{event_id}")


async def _client(executor: Executor, stream: str) -> str | None:
    """Return the client of a call's request; None without a request, or if the value was erased."""
    opened = await executor.first(stream) if stream.startswith(CATEGORY) else None
    if opened is None:
        return None
    values = await executor.readers.run(lambda conn: store.sealed(conn, opened.position))
    return values.get("client_id")
