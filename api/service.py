"""What the application does, whoever asks: HTTP routes and the worker call the same methods."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from api.auth import Tokens
from api.readers import Readers
from ledger import store
from ledger.commands import request as commands
from ledger.envelope import Actor, NewEvent, encode, uuid7
from ledger.errors import NotFound, Refused, VersionConflict
from ledger.store import Recorded
from ledger.writer import Writer
from schema.events import PortfolioRequested, RecommendationRecorded, RequestFailed

# A conflict means that another answer got in between; the state is then final and the next look refuses.
TRIES = 5


@dataclass(frozen=True)
class Ledger:
    """One ledger, open: `app.state.ledger`."""

    writer: Writer
    readers: Readers
    tokens: Tokens
    # How long a read waits for its projection.
    patience_s: float = 3.0

    async def request_portfolio(
        self, actor: Actor, event: PortfolioRequested, event_id: UUID | None = None
    ) -> Recorded:
        """Opens a new request; its number is in the recorded stream's name."""
        new = NewEvent(event_id or uuid7(), commands.CATEGORY, event, actor, "no_stream")
        return (await self.writer.append([new]))[0]

    async def answer_request(
        self, actor: Actor, request_id: int, event: RecommendationRecorded | RequestFailed, event_id: UUID | None = None
    ) -> Recorded:
        """Records the answer to a queued request. Raises NotFound or Refused; a replay returns the original."""
        new = NewEvent(event_id or uuid7(), commands.stream_of(request_id), event, actor)
        return await self._record(new, commands.check_answer, may_be_replay=event_id is not None)

    async def _record(
        self, new: NewEvent, check: Callable[[commands.RequestState], None], *, may_be_replay: bool
    ) -> Recorded:
        """Appends the event where the state allows it, at the version that was looked at."""
        for _ in range(TRIES):
            state = commands.fold(await self.readers.run(lambda conn: store.stream_types(conn, new.stream)))
            try:
                check(state)
            except NotFound:
                raise
            except Refused as refusal:
                if not may_be_replay:
                    raise
                return await self._replay(new, refusal)
            try:
                return await self._append(replace(new, expected=state.version))
            except VersionConflict:
                continue
        raise Refused("busy", "others are writing to this request; try again")

    async def _replay(self, new: NewEvent, refusal: Refused) -> Recorded:
        """It may be this very command that made the state final. Raises the refusal if it was not.

        An id that is recorded is a replay whatever version is expected; one that is not meets a stream that exists.
        """
        try:
            return await self._append(replace(new, expected="no_stream"))
        except VersionConflict:
            raise refusal from None

    async def _append(self, new: NewEvent) -> Recorded:
        """An agent's answer may be so large that making it canonical takes seconds: in a thread, as others wait."""
        return (await self.writer.append_lines([await asyncio.to_thread(encode, new)]))[0]
