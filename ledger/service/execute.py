"""How commands are carried out: look, decide, append at the versions that were looked at, and look again if need be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from ledger.errors import IdConflict, NotFound, Refused, VersionConflict
from ledger.service.command import Said
from ledger.service.policies import Policies
from ledger.store import events as store
from ledger.store.envelope import NewEvent, encode, uuid7
from ledger.store.events import Found, Receipt
from ledger.store.readers import Readers
from ledger.store.writer import Writer

T = TypeVar("T")

# A conflict means that another event of the same stream got in between; after so many, the stream is busy.
TRIES = 10


@dataclass(frozen=True)
class Core:
    """What every command needs."""

    writer: Writer
    readers: Readers
    # How long a read waits for its projection.
    patience_s: float = 3.0
    policies: Policies = field(default_factory=Policies.packaged)

    async def carry_out(
        self, said: Said, look: Callable[[], Awaitable[T]], decide: Callable[[T, UUID], list[NewEvent]]
    ) -> Receipt:
        """Appends what `decide` makes of the state; the last of the events is the one that was asked for."""
        new_id = said.event_id or uuid7()
        for _ in range(TRIES):
            found = None if said.event_id is None else await self._find(said.event_id)
            if found is not None:
                if not await asyncio.to_thread(said.is_repeated_by, found):
                    raise IdConflict("this id is recorded with other content")
                return found.at
            try:
                events = decide(await look(), new_id)
            except Refused:
                # Between the two looks the same command may have been recorded, and that is why it is refused.
                if said.event_id is None or await self._find(said.event_id) is None:
                    raise
                continue
            # An answer may be so large that making it canonical takes seconds: in a thread, as others wait.
            lines = await asyncio.to_thread(_encoded, events)
            try:
                return (await self.writer.append_lines(lines))[-1]
            except VersionConflict:
                continue
            except IdConflict:
                if said.event_id is None:
                    raise
        raise Refused("busy", "others are writing to this; try again")

    async def _find(self, event_id: UUID) -> Found | None:
        return await self.readers.run(lambda conn: store.find(conn, event_id))

    async def locate(self, position: int, kind: str, code: str) -> tuple[str, UUID]:
        """Stream and id of the event at a position, where it is of this type. Raises NotFound."""
        found = await self.readers.run(lambda conn: store.locate(conn, position))
        if found is None or found[1] != kind:
            raise NotFound(code, f"there is no such {code.removesuffix('-unknown').replace('-', ' ')}")
        return found[0], found[2]


def _encoded(events: list[NewEvent]) -> list[bytes]:
    return [encode(event) for event in events]
