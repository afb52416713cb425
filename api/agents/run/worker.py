"""The worker: claim queued requests, ask an agent, and record each model call and its answer.

Any number of workers, in any processes, share the queue. A claim is a row with a lease
(schema/functions/claim_requests.sql). If a worker dies, its leases expire and other workers take the requests; a call
that it had started stays recorded as an orphan. If two workers believe that they hold the same claim, only one can
answer: the append expects the stream's version, and the second append is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
from collections.abc import Coroutine
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import psycopg

from api.agents.protocol import Agent, AgentRequest
from api.agents.run.abandon import abandon
from api.agents.run.context import contexts
from api.agents.run.runner import MAX_CONCURRENT, AgentRunner, AttemptResult
from api.agents.run.worker_health import WorkerHealth
from ledger.database import AsyncConnection, connect_async
from ledger.errors import InvalidEvent, LedgerError, Refused
from ledger.service.ledger import Ledger
from ledger.store.envelope import Actor
from ledger.store.events import Receipt
from schema.events import CallFault, CallStart, RequestFailed

T = TypeVar("T")

log = logging.getLogger(__name__)

HOLD = "SELECT hold_claims(%s, %s * interval '1 second', %s)"
CLAIM = "SELECT request_id, attempt FROM claim_requests(%s, %s * interval '1 second', %s)"
# The most model calls for one claim of a request.
MAX_ATTEMPTS = 3
# The most claims without an answer. Then the request fails: it crashes its workers, or the model is gone.
MAX_CLAIMS = 10
# The shortest and longest wait before the next claim while the model is unavailable. It doubles: three hours in all.
OUTAGE_S = (30.0, 3600.0)
# The range of the pause before the second attempt. It doubles for each later attempt; a provider may ask for more.
BACKOFF_S = (0.25, 1.0)
LONGEST_PAUSE_S = 30.0
RECONNECT_PAUSE_S = 0.25
SUSPENDED_PAUSE_S = 0.5
LEASE_S = 30.0
LOCAL_BATCH = 100
# Times after stop(): for current requests to finish; then for the others to record that their calls ended.
GRACE_S = 2.0
RECORD_S = 2.0
RELEASE_S = 1.0
STOPPED = CallFault(error_type="agent-stopped")


class _Stopped(Exception):
    """The worker stops before this request has an answer. Another worker may take it at once."""


class Worker:
    """Answer queued requests with one agent until stopped. `conninfo` connects as the role writer, to claim.

    `batch` limits the current requests. The default is high for an agent that computes in this process. It is low for
    an agent that waits for a remote model, so that other workers get their share.

    Claims are renewed while their requests are current. So the lease is the time until a crash is noticed.
    """

    def __init__(
        self,
        ledger: Ledger,
        agent: Agent,
        conninfo: str,
        *,
        batch: int | None = None,
        lease_s: float = LEASE_S,
        idle_s: float = 0.1,
        outage_s: tuple[float, float] = OUTAGE_S,
    ) -> None:
        self.health = WorkerHealth()
        self._ledger = ledger
        self._agent = agent
        self._conninfo = conninfo
        self._batch = batch or (LOCAL_BATCH if agent.deterministic else MAX_CONCURRENT * 2)
        self._lease_s = lease_s
        self._outage_s = outage_s
        self._renewed = 0.0
        # Requests to postpone, and the seconds. Only the loop stores them, on its own connection.
        self._postponed: dict[int, float] = {}
        self._idle_s = idle_s
        self._name = f"{socket.gethostname()}:{os.getpid()}:{agent.name}"
        self._actor = Actor(id=agent.name, kind="agent", role="agent")
        self._runner = AgentRunner(agent)
        # Set once the agent has a call on record, and so is registered.
        self._registered = asyncio.Event()
        self._registering = asyncio.Lock()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        # Set when the time for answers is over: current calls then end as failed.
        self._cut = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to work in the background."""
        self._task = asyncio.create_task(self._run(), name="worker")
        self._task.add_done_callback(lambda task: None if self._stopping.is_set() else self.health.ended(task))

    async def stop(self) -> None:
        """Stop within little more than GRACE_S + RECORD_S + RELEASE_S, even if the database hangs.

        First the loop stops claiming. Then the started requests may finish within GRACE_S. Calls that are still open
        end as failed, and the claims of unanswered requests are released, so that another worker takes them at once.
        """
        self._stopping.set()
        deadline_s = monotonic() + GRACE_S
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=GRACE_S)
        await self._finish(deadline_s - monotonic())
        self._cut.set()
        await self._finish(RECORD_S)
        await abandon([*self._running.values(), *([self._task] if self._task else [])])
        await self._release()

    async def _finish(self, within_s: float) -> None:
        if self._running:
            await asyncio.wait(self._running.values(), timeout=max(within_s, 0))

    async def _release(self) -> None:
        """Release the claims of requests that have no answer. If that fails, their leases expire."""
        if self._postponed:
            task = asyncio.create_task(self._release_claims())
            await asyncio.wait({task}, timeout=RELEASE_S)
            await abandon([task])

    async def _release_claims(self) -> None:
        with contextlib.suppress(psycopg.Error):
            async with await connect_async(self._conninfo) as conn:
                await self._hold(conn)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                async with await connect_async(self._conninfo) as conn:
                    while not self._stopping.is_set():
                        await self._work(conn)
                        self.health.works()
            except Exception as error:  # noqa: BLE001 - a loop that ended unseen would leave all requests queued
                self.health.failed(error)
                await self._pause(RECONNECT_PAUSE_S)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _work(self, conn: AsyncConnection) -> None:
        """Claim as many requests as there is room for and start to answer them. Pause if the queue is empty."""
        await self._hold(conn)
        if await self._ledger.agents.is_suspended(self._agent.name):
            await self._pause(SUSPENDED_PAUSE_S)
            return
        # Claim when half of the batch is done: a claim after each answer would cost a statement for each.
        while len(self._running) > self._batch // 2:
            await self._any_of(*self._running.values(), within_s=self._lease_s / 3, unless=self._stopping)
            await self._hold(conn)
            if self._stopping.is_set():
                return
            self.health.works()  # also while the agent is slow
        most = self._batch - len(self._running)
        cursor = await conn.execute(CLAIM, [self._name, self._lease_s, most], prepare=True)
        attempts = dict(await cursor.fetchall())
        if not attempts:
            await self._pause(self._idle_s)
            return
        # A lease may expire while its request is still current here.
        fresh = [number for number in attempts if number not in self._running]
        for request in await self._ledger.readers.run(lambda conn: contexts(conn, fresh)):
            number = request.request_id
            self._running[number] = task = asyncio.create_task(self._answer(request, attempts[number]))
            task.add_done_callback(partial(self._ended, number))

    async def _any_of(self, *tasks: asyncio.Future[Any], within_s: float | None, unless: asyncio.Event) -> None:
        """Wait until one of the tasks is done, but not longer than until the event is set."""
        event = asyncio.create_task(unless.wait())
        try:
            await asyncio.wait({*tasks, event}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            event.cancel()

    async def _hold(self, conn: AsyncConnection) -> None:
        """Renew the claims on current requests, and store the postponed ones."""
        while self._postponed:
            number, pause_s = self._postponed.popitem()
            await conn.execute(HOLD, [self._name, pause_s, [number]], prepare=True)
        if self._running and monotonic() - self._renewed > self._lease_s / 3:
            await conn.execute(HOLD, [self._name, self._lease_s, list(self._running)], prepare=True)
            self._renewed = monotonic()

    def _ended(self, number: int, task: asyncio.Task[None]) -> None:
        del self._running[number]
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("request %d: internal error %s; it will be claimed again", number, type(fault).__name__)

    async def _answer(self, request: AgentRequest, claim: int) -> None:
        """Answer one request. Ledger errors are logged; the request is claimed again when its lease expires."""
        try:
            if claim > MAX_CLAIMS:
                await self._record(request.request_id, AttemptResult(RequestFailed(reason="agent-fault")))
                return
            await self._ask(request, claim)
        except _Stopped:
            self._postponed[request.request_id] = 0.0
        except Refused as refusal:
            if refusal.code == "agent-suspended":
                self._postponed[request.request_id] = 0.0
            log.info("request %d: nothing recorded: %s", request.request_id, refusal.code)
        except LedgerError as error:
            log.warning("request %d: answer not recorded: %s", request.request_id, type(error).__name__)

    async def _ask(self, request: AgentRequest, claim: int) -> None:
        """Attempt until there is a final result or no attempt is left. Postpone the request in an outage."""
        for left in reversed(range(MAX_ATTEMPTS)):
            result = await self._attempt(request)
            postpone = result.is_outage and not left and claim < MAX_CLAIMS
            if result.final or not (left or postpone):
                await self._record(request.request_id, result)
                return
            if result.call_id is not None and result.ended is not None:
                await self._ledger.requests.end_call(self._actor, result.call_id, result.ended)
            if postpone:
                least_s, most_s = self._outage_s
                self._postponed[request.request_id] = min(least_s * 2 ** (claim - 1), most_s)
                return
            pause_s = random.uniform(*BACKOFF_S) * 2 ** (MAX_ATTEMPTS - 1 - left)  # noqa: S311 - no secret
            await self._pause(max(pause_s, min(result.retry_after_s or 0, LONGEST_PAUSE_S)))

    async def _attempt(self, request: AgentRequest) -> AttemptResult:
        """Make one model call, after recording its start. Raises _Stopped, before a start or after the call's end."""
        prepared = await self._unless_cut(self._runner.prepare(request))
        if isinstance(prepared, AttemptResult):
            return prepared
        if prepared is None or self._stopping.is_set():
            raise _Stopped
        started = await self._start(request.request_id, prepared)
        result = await self._unless_cut(self._runner.answer(request, prepared, started.position))
        if result is None:
            await self._ledger.requests.end_call(self._actor, started.position, STOPPED)
            raise _Stopped
        return result

    async def _start(self, request_id: int, call: CallStart) -> Receipt:
        """Record the start of a call. The first one goes alone: it may register the agent, as others would as well."""
        start = partial(
            self._ledger.requests.start_call, self._actor, request_id, call, answer_schema=self._agent.answer_schema
        )
        if not self._registered.is_set():
            async with self._registering:
                if not self._registered.is_set():
                    started = await start()
                    self._registered.set()
                    return started
        return await start()

    async def _unless_cut(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return the result of the agent's work, or None if its time is over."""
        task = asyncio.create_task(work)
        try:
            await self._any_of(task, within_s=None, unless=self._cut)
            return task.result() if task.done() else None
        finally:
            task.cancel()

    async def _record(self, request_id: int, result: AttemptResult) -> None:
        """Record the end of the call together with its result."""
        ended = None if result.call_id is None or result.ended is None else (result.call_id, result.ended)
        try:
            await self._ledger.requests.answer(self._actor, request_id, result.event, ended=ended)
        except InvalidEvent:  # NaN, a lone surrogate, or too large
            await self._give_up(request_id, result)
        except Refused as refusal:
            if refusal.code == "answer-off-schema":
                await self._give_up(request_id, result)
                return
            # Another worker was faster. This call was also made, so its end is recorded.
            if ended is not None and refusal.code != "model-call-ended":
                await self._ledger.requests.end_call(self._actor, *ended)
            raise

    async def _give_up(self, request_id: int, result: AttemptResult) -> None:
        log.warning("agent %s: the answer to request %d cannot be recorded", self._agent.name, request_id)
        fault = CallFault(error_type="invalid-answer")
        ended = None if result.call_id is None else (result.call_id, fault)
        failed = RequestFailed(reason="invalid-answer")
        await self._ledger.requests.answer(self._actor, request_id, failed, ended=ended)
