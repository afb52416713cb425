"""Execute a command: read the state, decide, append at the versions that were read, and start again on a conflict."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from ledger.domain.history import RecordedEvent
from ledger.errors import IdConflict, NotFound, Refused, VersionConflict
from ledger.service.command import Command
from ledger.store import events as store
from ledger.store.envelope import NewEvent, encode, is_small, uuid7
from ledger.store.events import Receipt
from ledger.store.readers import Readers
from ledger.store.writer import Writer

T = TypeVar("T")

# A conflict means that another append to the same stream came first. After this many, the command is refused as `busy`.
TRIES = 10


@dataclass(frozen=True)
class Executor:
    """The store as commands use it: reads through `readers`, appends through `writer`."""

    writer: Writer
    readers: Readers

    async def execute(
        self, command: Command, look: Callable[[], Awaitable[T]], decide: Callable[[T, UUID], list[NewEvent]]
    ) -> Receipt:
        """Append the events that `decide` makes of the state that `look` reads; return the receipt of the last one.

        The last event is the command's own; events before it are what it needs on record. A command that is already
        recorded gets its first receipt. Raises Refused, NotFound, InvalidEvent, IdConflict or Unavailable.
        """
        new_id = command.event_id or uuid7()
        for _ in range(TRIES):
            receipt = await self._repeated(command)
            if receipt is not None:
                return receipt
            try:
                events = decide(await look(), new_id)
            except Refused:
                # The same command may have been recorded since the look-up above, and be the reason for the refusal.
                if command.event_id is None or await self.find(command.event_id) is None:
                    raise
                continue
            lines = await encoded(events)
            try:
                return (await self.writer.append_lines(lines))[-1]
            except VersionConflict:
                continue
            except IdConflict:
                if command.event_id is None:
                    raise
        raise Refused("busy", "other callers are writing to this stream; try again")

    async def locate(self, position: int, kind: str, code: str) -> tuple[str, UUID]:
        """Return stream and id of the event at a position. Raises NotFound `code` unless the event has type `kind`."""
        row = await self.readers.run(lambda conn: store.locate(conn, position))
        if row is None or row[1] != kind:
            raise NotFound(code, f"there is no such {code.removesuffix('-unknown').replace('-', ' ')}")
        return row[0], row[2]

    async def _repeated(self, command: Command) -> Receipt | None:
        """Return the first receipt of a repeated command. Raises IdConflict if its key was used for another one."""
        row = None if command.event_id is None else await self.find(command.event_id)
        if row is None:
            return None
        receipt, event = row
        if not await asyncio.to_thread(command.is_repeated_by, event):
            raise IdConflict("this id is recorded with other content")
        return receipt

    async def find(self, event_id: UUID) -> tuple[Receipt, RecordedEvent] | None:
        """Return the event with this id, with its sealed values, or None. Raises Unavailable."""
        return await self.readers.run(lambda conn: store.find(conn, event_id))

    async def first(self, stream: str) -> RecordedEvent | None:
        """Return the first event of a stream, without its sealed values, or None. Raises Unavailable."""
        return await self.readers.run(lambda conn: store.first(conn, stream))

    async def recorded(self, event_ids: Sequence[UUID]) -> set[UUID]:
        """Return which of these ids are recorded. Raises Unavailable."""
        return await self.readers.run(lambda conn: store.recorded(conn, event_ids))


async def encoded(events: list[NewEvent]) -> list[bytes]:
    """Encode the events. Canonical JSON of a large answer takes seconds: in a thread, so that other callers go on."""
    if all(is_small(new.event) for new in events):
        return [encode(new) for new in events]
    return await asyncio.to_thread(lambda: [encode(new) for new in events])
