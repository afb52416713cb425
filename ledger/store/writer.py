"""Group commit: events that arrive while an append is in flight go to the database together, as the next append.

One task owns the only connection; callers wait on a future. There is no timer: with one caller a group is one event,
with many callers the load determines its size.

If the connection breaks in flight, or the wait for a synchronous standby is cancelled, it is unknown whether the group
was committed. The writer sends the same bytes again on a new connection. Ids that were recorded are replays, so nothing
is recorded twice. Callers that have waited longer than `patience_s` get Unavailable, also while an append hangs in the
database; they may retry with the same id.

An unexpected exception fails the event that causes it, and the rest of its group is recorded. If the task ends
nevertheless, its callers and all later ones get Unavailable at once, and `status()` reports it.

Behind a new connection may be another database: a standby without its tail, or a restored copy. So nothing is appended
on a connection before the database has shown that it has the events that were signed last.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic
from time import time as wall_clock

import psycopg

from ledger.database import AsyncConnection, connect_async
from ledger.errors import LedgerError, LogRefused, NotAttested, Overloaded, Unavailable
from ledger.store import events as store
from ledger.store.append_member import Member
from ledger.store.blockers import blockers_of, end_blockers
from ledger.store.envelope import Line, NewEvent, encode
from ledger.store.events import Receipt, StoreFailed
from ledger.store.recorder import Recorder
from ledger.store.writer_health import WriterHealth, WriterStatus

log = logging.getLogger(__name__)

MAX_GROUP_EVENTS = 1000
MAX_GROUP_BYTES = 16 * 1024 * 1024
MAX_WAITING_BYTES = 128 * 1024 * 1024
RECONNECT_PAUSE_S = 0.1
# The time between two checks for callers that ran out of patience, while an append hangs. The first comes so much later
# than their patience that a lock_timeout in the database comes first: then it is certain that nothing was recorded.
CHECK_S = 0.25
# The positions and hashes of events that a database must have.
KnownEvents = Callable[[], Sequence[tuple[int, bytes]]]
ENDED = "the writer of this process has ended: restart the server"
NOT_STARTED = "this process records nothing"


class Writer:
    """Append events for this process. `conninfo` is for the role writer. Call start() first and close() at the end.

    `known` is called in a thread, for each new connection. With a `recorder`, each group is attested.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        patience_s: float = 3.0,
        clock: Callable[[], float] = wall_clock,
        known: KnownEvents = tuple,
        recorder: Recorder | None = None,
    ) -> None:
        self._conninfo = conninfo
        self._patience_s = patience_s
        self._clock = clock
        self._known = known
        self._recorder = recorder
        self._conn: AsyncConnection | None = None
        # True once the database behind the connection has shown that it has the known events.
        self._compared = False
        self._waiting: deque[Member] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._in_hand: list[Member] = []
        self._check: asyncio.Task[list[Receipt]] | None = None
        self.health = WriterHealth()

    async def start(self) -> None:
        """Start the task. A database that is down now is not an error: the first append connects again."""
        self._task = asyncio.create_task(self._run(), name="ledger-writer")
        self._task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Record the events that wait, then stop. If the database hangs, stop once each caller has got Unavailable."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task})
        await self._disconnect()

    def status(self) -> WriterStatus:
        """Return the outcomes of the last appends, and how many callers wait."""
        oldest_s = min((member.since_s for member in (*self._in_hand, *self._waiting)), default=None)
        return self.health.status(len(self._in_hand) + len(self._waiting), oldest_s)

    async def check(self) -> WriterStatus:
        """Return the status, after a check within the patience if no append has succeeded in the last second.

        The check takes the same way as an append and records nothing. If an earlier check still hangs, return the
        status of the failed appends at once.
        """
        if self.health.is_fresh or self._closing or self.health.ended is not None:
            return self.status()
        before = self._check
        check = self._checking()
        if check is before and self.status().failing_s >= self._patience_s:
            return self.status()
        await asyncio.wait({check}, timeout=self._patience_s)
        if not check.done():
            self.health.hangs()
        return self.status()

    def _checking(self) -> asyncio.Task[list[Receipt]]:
        """Return the check that runs, or begin one."""
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(self.append_lines([]), name="ledger-writer-check")
            self._check.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._check

    async def append(self, events: Sequence[NewEvent]) -> list[Receipt]:
        """Record the events, all or none, and return their receipts. Raises the errors of ledger.errors."""
        return await self.append_lines([encode(event) for event in events])

    async def append_lines(self, lines: list[Line]) -> list[Receipt]:
        """Record lines from envelope.encode, as append() does, for a retry that must send the same bytes."""
        if self._closing:
            raise Unavailable("the server is stopping")
        if self.health.ended is not None:
            raise Unavailable(ENDED)
        if self._task is None:
            raise Unavailable(NOT_STARTED)
        member = Member(lines, asyncio.get_running_loop().create_future())
        if self._waiting_bytes + member.size > MAX_WAITING_BYTES:
            raise Overloaded("too many events wait to be recorded; try again")
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
            self._in_hand = self._take()
            await self._commit(self._in_hand)
            self._in_hand = []

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Fail everybody who waits if the task ended before close(), because nobody else would."""
        if self._closing and (task.cancelled() or task.exception() is None):
            return
        error = None if task.cancelled() else task.exception()
        self.health.ended = "it was cancelled" if error is None else type(error).__name__
        log.critical("%s (%s)", ENDED, self.health.ended)
        for member in (*self._in_hand, *self._waiting):
            member.fail(Unavailable(ENDED))
        self._waiting.clear()
        self._waiting_bytes = 0

    def _take(self) -> list[Member]:
        group: list[Member] = []
        events = size = 0
        while self._waiting:
            member = self._waiting[0]
            if group and (
                member.is_check != group[0].is_check
                or events + len(member.lines) > MAX_GROUP_EVENTS
                or size + member.size > MAX_GROUP_BYTES
            ):
                break
            group.append(self._waiting.popleft())
            events += len(member.lines)
            size += member.size
        self._waiting_bytes -= size
        return group

    async def _commit(self, group: list[Member]) -> None:
        try:
            await self._flush(group)
        except Exception as error:  # noqa: BLE001 - an end of this task would leave every caller waiting
            if isinstance(error, StoreFailed) or not isinstance(error, LedgerError):
                # The session may be at fault, or in any state. What was committed is a replay next time.
                await self._disconnect()
            if len(group) == 1 or isinstance(error, LogRefused | NotAttested):
                for member in group:
                    member.fail(error)
                return
            # The events of one member were refused, so none was recorded: commit each member alone.
            for member in group:
                await self._commit([member])

    async def _flush(self, group: list[Member]) -> None:
        """Record the group, with a new connection as often as needed. Raises what the database refused."""
        while group:
            try:
                receipts = iter(await self._append(group))
            except (LogRefused, NotAttested):  # waiting does not help
                raise
            except Unavailable as error:
                await self._disconnect()
                group = self._without_impatient(group, error)
                if group:
                    await asyncio.sleep(RECONNECT_PAUSE_S)
            else:
                for member in group:
                    member.deliver([next(receipts) for _ in member.lines])
                    if member.lines:
                        self.health.appends.observe(monotonic() - member.since_s)
                self.health.succeeded(check=group[0].is_check)
                if self.health.is_failing and not self._closing:
                    self._checking()
                return

    async def _append(self, group: list[Member]) -> list[Receipt]:
        self._watch(group, self._patience_s + CHECK_S)
        self.health.began()
        try:
            return await self._send([line for member in group for line in member.lines])
        except Exception as error:
            self.health.failed(error, await blockers_of(self._conn, error))
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()

    async def _send(self, lines: list[Line]) -> list[Receipt]:
        conn = await self._connected()
        if self.health.is_locked:
            await end_blockers(conn)
        if not lines:
            await store.check_append(conn, self._recorder, deep=self.health.deep_is_due())
            return []
        return await store.append(conn, lines, int(self._clock() * 1_000_000), self._recorder)

    def _watch(self, group: list[Member], after_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(after_s, self._give_up, group)

    def _give_up(self, group: list[Member]) -> None:
        """Fail the impatient callers of an append that hangs, and those behind it. The append may still succeed."""
        self.health.hangs()
        self._without_impatient(group, Unavailable("the database does not answer; try again"))
        if self._closing and self._task is not None:
            self._task.cancel()  # no caller waits any more; a second cancel makes psycopg stop waiting for the server
        self._watch(group, CHECK_S)

    def _without_impatient(self, group: list[Member], error: Unavailable) -> list[Member]:
        """Fail callers that have waited long enough, in the group and the queue; return the rest of the group."""
        limit = monotonic() - (0 if self._closing else self._patience_s)
        while self._waiting and self._waiting[0].since_s <= limit:
            member = self._waiting.popleft()
            self._waiting_bytes -= member.size
            member.fail(error)
        if self._waiting and group[0].is_check:
            limit = inf  # a check is not tried again while callers wait: they may need less than it does
        for member in group:
            if member.since_s <= limit:
                member.fail(error)
        return [member for member in group if member.since_s > limit]

    async def _connected(self) -> AsyncConnection:
        if self._conn is None or self._conn.closed:
            try:
                self._conn = await connect_async(self._conninfo)
            except psycopg.OperationalError as error:
                raise Unavailable("the database does not answer; try again") from error
            self._compared = False
        if not self._compared:
            if known := await asyncio.to_thread(self._known):
                await store.check_history(self._conn, known)
            self._compared = True
        return self._conn

    async def _disconnect(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            with contextlib.suppress(psycopg.Error):  # a broken connection may fail to close; nothing depends on it
                await conn.close()
