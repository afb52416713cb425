"""Dispose of records at the end of retention: propose erasures, and confirm those that wait. A job or a command does a
step.

A step may be killed and repeated: a client that is erased, or whose erasure waits, is skipped.
"""

from __future__ import annotations

import contextlib
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import UUID, uuid5

from ledger.database import AsyncConnection
from ledger.domain.client import number_of
from ledger.domain.history import RecordedEvent
from ledger.domain.retention import Record
from ledger.erasure.facts import read_newest
from ledger.errors import Conflict, NotFound, Refused, StreamUnreadable
from ledger.service.command import Command
from ledger.service.erasures import ErasureCommands
from ledger.service.execute import Executor
from ledger.store.envelope import Actor, NewEvent
from ledger.store.events import Receipt
from ledger.store.head import database_time
from schema.events import DisposalCompleted, DisposalRequested, RequestDisposal, RequestErasure
from schema.states import ErasureState

CATEGORY = "disposal-"
DISPOSER = Actor(id="advice-ledger", kind="service", role="disposer")
REASON = "retention-over"
# Leave out streams without a number: no command makes them, and they belong to no client.
CLIENTS = "SELECT stream FROM stream_clients WHERE stream_number(stream, 'client-') IS NOT NULL"
# The number of clients that one query reads.
AT_ONCE = 200
log = logging.getLogger(__name__)

OnProgress = Callable[[int, int], None]
CatchUp = Callable[[], Awaitable[None]]


@dataclass
class Counts:
    """The counts of a step: see DisposalCompleted."""

    looked_at: int = 0
    done: int = 0
    forbidden: int = 0
    waiting: int = 0


@dataclass(frozen=True)
class Disposal:
    """A step that was requested, and its result; None until it is done."""

    requested: RecordedEvent
    completed: RecordedEvent | None


async def nothing() -> None:
    """Do nothing: the projector of a server brings read models up to the head."""


@dataclass(frozen=True)
class DisposalCommands:
    """Commands about disposals."""

    executor: Executor
    erasures: ErasureCommands

    async def request(self, actor: Actor, body: RequestDisposal, event_id: UUID | None = None) -> Receipt:
        """Record the request for a step. Its number is that of the receipt's stream."""

        async def look() -> None:
            """Return None: every state allows it."""

        def decide(_: None, new_id: UUID) -> list[NewEvent]:
            return [NewEvent(new_id, CATEGORY, DisposalRequested(**dict(body)), actor, "no_stream")]

        command = Command(actor, CATEGORY, DisposalRequested, body.model_dump(), event_id)
        return await self.executor.execute(command, look, decide)

    @property
    def policy_version(self) -> str:
        """Return the version of the retention policy in force."""
        return self.erasures.policies.retention.policy.version

    async def get(self, number: int) -> Disposal:
        """Return a step. Raises NotFound `disposal-unknown`."""
        [history] = await self.executor.readers.streams(f"{CATEGORY}{number}")
        if not history or history[0].type != DisposalRequested.type:
            raise NotFound("disposal-unknown", "there is no such disposal")
        return Disposal(history[0], history[1] if len(history) > 1 else None)

    async def actor_of(self, disposal: Disposal) -> Actor:
        """Return the subject that requested it, if it may still act. Raises Refused."""
        given = disposal.requested.content["actor"]
        credential = given.get("credential")
        judged = None if credential is None else 0
        actor = Actor(given["id"], given["kind"], given["role"], credential, judged=judged)
        return await self.executor.authority.judge(actor)

    async def now(self) -> datetime:
        """Return the time by the database's clock."""
        return await self.executor.readers.run_short(database_time)

    async def propose(self, actor: Actor, on_progress: OnProgress, catch_up: CatchUp = nothing) -> Counts:
        """Request the erasure of each client whose retention period has ended."""
        counts, now, clients = Counts(), await self.now(), await self.executor.readers.run(_clients)
        for first in range(0, len(clients), AT_ONCE):
            streams = clients[first : first + AT_ONCE]
            for number in await self.executor.readers.run(partial(self._due, streams=streams, now=now)):
                await self._propose(actor, number, counts, catch_up)
            counts.looked_at += len(streams)
            on_progress(counts.looked_at, len(clients))
        return counts

    async def erase(
        self, actor: Actor, waiting: Sequence[int], on_progress: OnProgress, catch_up: CatchUp = nothing
    ) -> Counts:
        """Confirm these erasures, which wait because retention is over."""
        counts = Counts()
        for erasure in waiting:
            await catch_up()
            try:
                receipt = await self.erasures.confirm(actor, erasure)
            except Refused as error:
                counts.forbidden += error.code == "erasure-forbidden"
                counts.waiting += error.code in {"same-person", "busy"}
            except StreamUnreadable as error:
                log.error("erasure %d is not done: %s", erasure, error)  # noqa: TRY400 - a traceback could have values
            else:
                counts.done += not receipt.replayed
            counts.looked_at += 1
            on_progress(counts.looked_at, len(waiting))
        return counts

    async def finish(self, number: int, event: DisposalCompleted) -> Disposal:
        """Record the result of a step once; return the step as it is then, because another process may have been
        first."""
        found = await self.get(number)
        new_id = uuid5(found.requested.id, "completed")
        new = NewEvent(new_id, f"{CATEGORY}{number}", event, DISPOSER, 1, found.requested.id)
        with contextlib.suppress(Conflict):
            await self.executor.writer.append([new])
        return await self.get(number)

    async def _due(self, conn: AsyncConnection, streams: Sequence[str], now: datetime) -> list[int]:
        """Return the clients whose records had to be kept until now and no longer."""
        records: dict[str, list[Record]] = defaultdict(list)
        for own, record in await read_newest(conn, streams):
            records[own].append(record)
        retention = self.erasures.policies.retention
        return sorted(number_of(own) for own, found in records.items() if retention.is_over(found, now))

    async def _propose(self, actor: Actor, number: int, counts: Counts, catch_up: CatchUp) -> None:
        await catch_up()
        try:
            found = await self.erasures.look(actor, number)
        except (Refused, NotFound):  # merged into another client, or erased
            return
        except StreamUnreadable as error:
            log.error("client %d is not proposed: %s", number, error)  # noqa: TRY400 - a traceback could have values
            return
        if any(one.state(found.contents.now) is ErasureState.WAITING for one in found.erasures.values()):
            counts.waiting += 1
        elif found.forbidden is not None:
            counts.forbidden += 1
        else:
            try:
                await self.erasures.request(actor, number, RequestErasure(reason=REASON))
                counts.done += 1
            except Refused as error:  # because of a hold that was placed just now, or another request
                counts.forbidden += error.code == "erasure-forbidden"
                counts.waiting += error.code == "erasure-waits"


async def _clients(conn: AsyncConnection) -> list[str]:
    rows = await (await conn.execute(CLIENTS.encode())).fetchall()
    return sorted((stream for (stream,) in rows), key=number_of)


def number_of_disposal(receipt: Receipt) -> int:
    """Return the number of a step."""
    return int(receipt.stream.removeprefix(CATEGORY))


def as_moment(at: datetime) -> str:
    """Return a time in the form that events have."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
