"""Group commit: what arrives while an append is in flight goes to the database as the next one.

One task owns the one connection; callers wait on a future. There is no timer: with one caller a group is one event,
with many it is as large as the load makes it.

When the connection breaks in flight, nobody knows whether the group was committed. It is sent again, the same bytes, on
a new connection: ids that did get in are replays, so nothing is recorded twice. Callers who waited longer than
`patience_s` are told Unavailable, also while the database keeps an append in flight hanging; they may send again with
the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

import psycopg

from ledger.database import AsyncConnection
from ledger.errors import LedgerError, Overloaded, Unavailable
from ledger.store import events as store
from ledger.store.envelope import NewEvent, encode
from ledger.store.events import Receipt

MAX_GROUP_EVENTS = 1000
MAX_GROUP_BYTES = 16 * 1024 * 1024
MAX_WAITING_BYTES = 128 * 1024 * 1024
RECONNECT_PAUSE_S = 0.1
# Between two looks at who lost patience, while an append hangs. The first is so long after the callers' patience, so
# that a database that gives up by itself (lock_timeout) says so first: then it is known that nothing is recorded.
LOOK_S = 0.25


@dataclass(slots=True, eq=False)
class _Member:
    """One caller's events: recorded together or not at all."""

    lines: list[bytes]
    done: asyncio.Future[list[Receipt]]
    since_s: float = field(default_factory=monotonic)

    @property
    def size(self) -> int:
        return sum(map(len, self.lines))


class Writer:
    """Appends from this process. `conninfo` is for the role writer; call start() first and close() at the end."""

    def __init__(self, conninfo: str, *, patience_s: float = 3.0) -> None:
        self._conninfo = conninfo
        self._patience_s = patience_s
        self._conn: AsyncConnection | None = None
        self._waiting: deque[_Member] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Starts the task. A database that is down now is no error: it is tried again with the first append."""
        self._task = asyncio.create_task(self._run(), name="ledger-writer")

    async def close(self) -> None:
        """Records what is waiting, then ends; with a database that hangs, once everybody was told."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.result()  # should it have ended by a fault of ours, that is not hidden
        await self._disconnect()

    async def append(self, events: Sequence[NewEvent]) -> list[Receipt]:
        """Records the events, all or none, and says where they stand. Raises the errors of ledger.errors."""
        return await self.append_lines([encode(event) for event in events])

    async def append_lines(self, lines: list[bytes]) -> list[Receipt]:
        """As append(), for lines from envelope.encode: a retry that must be byte for byte the same."""
        if self._closing:
            raise Unavailable("the server is stopping")
        member = _Member(lines, asyncio.get_running_loop().create_future())
        if self._waiting_bytes + member.size > MAX_WAITING_BYTES:
            raise Overloaded("too much is waiting to be recorded; try again")
        self._waiting.append(member)
        self._waiting_bytes += member.size
        self._wake.set()
        return await member.done

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._commit(self._take())

    def _take(self) -> list[_Member]:
        group: list[_Member] = []
        events = size = 0
        while self._waiting:
            member = self._waiting[0]
            if group and (events + len(member.lines) > MAX_GROUP_EVENTS or size + member.size > MAX_GROUP_BYTES):
                break
            group.append(self._waiting.popleft())
            events += len(member.lines)
            size += member.size
        self._waiting_bytes -= size
        return group

    async def _commit(self, group: list[_Member]) -> None:
        try:
            await self._flush(group)
        except LedgerError as error:
            if len(group) == 1:
                _fail(group[0], error)
                return
            # Somebody's events were refused, so nobody's were recorded: each gets a turn of its own.
            for member in group:
                await self._commit([member])

    async def _flush(self, group: list[_Member]) -> None:
        """Records the group, through as many connections as it takes. Raises what the database refused."""
        while group:
            try:
                recorded = iter(await self._append(group))
            except Unavailable as error:
                await self._disconnect()
                group = self._without_impatient(group, error)
                if group:
                    await asyncio.sleep(RECONNECT_PAUSE_S)
            else:
                for member in group:
                    _deliver(member, [next(recorded) for _ in member.lines])
                return

    async def _append(self, group: list[_Member]) -> list[Receipt]:
        self._watch(group, self._patience_s + LOOK_S)
        try:
            return await store.append(await self._connected(), [line for m in group for line in m.lines])
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _watch(self, group: list[_Member], after_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(after_s, self._give_up, group)

    def _give_up(self, group: list[_Member]) -> None:
        """An append hangs: its callers, and those behind it, are told. It goes on, and what it records stays."""
        self._without_impatient(group, Unavailable("the database does not answer; try again"))
        if self._closing and self._task is not None:
            self._task.cancel()  # nobody waits any more; a second time, psycopg stops waiting for the server as well
        self._watch(group, LOOK_S)

    def _without_impatient(self, group: list[_Member], error: Unavailable) -> list[_Member]:
        """Gives up on those who waited long enough, here and in the queue; the rest is tried again."""
        limit = monotonic() - (0 if self._closing else self._patience_s)
        while self._waiting and self._waiting[0].since_s <= limit:
            member = self._waiting.popleft()
            self._waiting_bytes -= member.size
            _fail(member, error)
        for member in group:
            if member.since_s <= limit:
                _fail(member, error)
        return [member for member in group if member.since_s > limit]

    async def _connected(self) -> AsyncConnection:
        if self._conn is None or self._conn.closed:
            try:
                self._conn = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)
            except psycopg.OperationalError as error:
                raise Unavailable("the database does not answer; try again") from error
        return self._conn

    async def _disconnect(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            with contextlib.suppress(psycopg.Error):  # it is broken already; nothing is lost by that
                await conn.close()


def _deliver(member: _Member, recorded: list[Receipt]) -> None:
    if not member.done.done():  # a caller may have gone away; what it sent is recorded all the same
        member.done.set_result(recorded)


def _fail(member: _Member, error: LedgerError) -> None:
    if not member.done.done():
        member.done.set_exception(error)
