"""Record who reads data of clients, before the answer: once a minute for a subject, a resource, and a request or
client.

This process remembers what it recorded in the present minute, so a person who reads the same again does not wait.
After a restart, and in another process, the same access is recorded once more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from secrets import token_hex

from ledger.database import Connection
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import append_now
from ledger.store.recorder import Recorder
from ledger.store.writer import Writer
from schema.events import AccessRecorded

CATEGORY = "access-"
ACTOR = Actor(id="advice-ledger", kind="service", role="recorder")
# A live step folds the whole stream again for each new event, so streams must stay short. After this many events, the
# next stream begins.
MOST_EVENTS = 50
# The number of accesses remembered for a minute. Beyond it, all are forgotten, and are recorded once more.
MOST_REMEMBERED = 50_000


@dataclass(frozen=True)
class ClientNumber:
    """A client whose data is shown and that belongs to no request."""

    number: int


# The object of an access: a request by its number, a client, or nothing in particular.
Item = int | ClientNumber | None


@dataclass(frozen=True)
class Access:
    """An access without its requests: subject, role, action, resource. `parameters`: names of filters, never values."""

    subject: str
    role: str
    action: str
    resource: str
    parameters: tuple[str, ...] = ()
    credential: int | None = None
    reason: str | None = None

    def event(self, items: Iterable[Item], rows: int | None) -> AccessRecorded:
        """Return the event about these requests and clients. Raises ValueError for more than an event may name."""
        found = set(items)
        return AccessRecorded.model_validate(
            {
                "subject": self.subject,
                "role": self.role,
                "credential": self.credential,
                "action": self.action,
                "resource": self.resource,
                "parameters": list(self.parameters) or None,
                "requests": sorted(item for item in found if isinstance(item, int)) or None,
                "clients": sorted(item.number for item in found if isinstance(item, ClientNumber)) or None,
                "rows": rows,
                "reason": self.reason,
            }
        )


Key = tuple[Access, Item]
Known = dict[Key, asyncio.Task[None] | None]


class Accesses:
    """Record the accesses of this process through its writer. `clock` gives the minute and the day."""

    def __init__(self, writer: Writer, clock: Callable[[], float] = time.time) -> None:
        self._writer = writer
        self.clock = clock
        self._minute = 0
        # The append that records an access to a request; None once it is recorded.
        self._known: Known = {}
        self._newest = _Stream("", 0)

    async def record(self, access: Access, items: Iterable[Item] = (), rows: int | None = None) -> None:
        """Return once an event of this minute has the access to each of these items, or to nothing in particular.

        Raises Unavailable if it cannot be recorded: then the caller may not be answered.
        """
        self._forget()
        keys = {(access, item) for item in items} or {(access, None)}
        new = [key for key in keys if key not in self._known]
        if new:
            event = access.event((item for _, item in new), rows)
            task = asyncio.create_task(self._append(event), name="access")
            task.add_done_callback(partial(_remember, self._known, new))
            self._known |= dict.fromkeys(new, task)
        # Use a separate task: if the caller goes away, others may still wait for the same record.
        waiting = {running for key in keys if (running := self._known.get(key)) is not None}
        for task in waiting:
            await asyncio.shield(task)

    def _forget(self) -> None:
        minute = int(self.clock() // 60)
        if minute != self._minute or len(self._known) > MOST_REMEMBERED:
            self._minute, self._known = minute, {}

    async def _append(self, event: AccessRecorded) -> None:
        await self._writer.append([NewEvent(uuid7(), self._stream(), event, ACTOR)])

    def _stream(self) -> str:
        """Return the stream for the next event. Each process has streams of its own."""
        day = _day(self.clock())
        if not self._newest.name.startswith(day) or self._newest.events >= MOST_EVENTS:
            self._newest = _Stream(_stream_of(day), 0)
        self._newest = replace(self._newest, events=self._newest.events + 1)
        return self._newest.name


@dataclass(frozen=True)
class _Stream:
    """A stream, and the number of events that this process gave it."""

    name: str
    events: int


def _remember(known: Known, keys: list[Key], done: asyncio.Task[None]) -> None:
    """Note that these accesses are on record; if they are not, forget them, so that the next one tries again."""
    if done.cancelled() or done.exception() is not None:
        for key in keys:
            known.pop(key, None)
    else:
        known |= dict.fromkeys(keys)


def record_now(
    writer: Connection, access: Access, items: Iterable[Item], rows: int | None, recorder: Recorder | None
) -> None:
    """Record one access of a command, on a connection of the writer's role. Raises psycopg.Error."""
    append_now(writer, NewEvent(uuid7(), _stream_of(_day(time.time())), access.event(items, rows), ACTOR), recorder)


def _day(now_s: float) -> str:
    return f"{CATEGORY}{datetime.fromtimestamp(now_s, UTC):%Y-%m-%d}-"


def _stream_of(day: str) -> str:
    # A name that ends in digits would be a number, which append() limits.
    return f"{day}{token_hex(8)}x"
