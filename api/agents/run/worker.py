"""The worker: claims queued requests, asks an agent, records what it was shown and what it answered.

Several workers, in any processes, share the queue: a claim is a row with a lease (schema/functions/claim_requests.sql).
A worker that dies loses its claims when the lease runs out, and another takes them; a call that it had started and not
ended stays on record as an orphan. Two that both believe to hold a claim cannot both answer: the append expects the
stream's version, and the second is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
from functools import partial
from time import monotonic

import psycopg

from api.agents.protocol import Agent, AgentRequest
from api.agents.run.context import contexts
from api.agents.run.runner import AT_A_TIME, Asking, Outcome
from ledger.database import AsyncConnection
from ledger.errors import InvalidEvent, LedgerError, Refused
from ledger.service.ledger import Ledger
from ledger.store.envelope import Actor
from schema.events import CallFault, RequestFailed

log = logging.getLogger(__name__)

HOLD = "SELECT hold_claims(%s, %s * interval '1 second', %s)"
CLAIM = "SELECT request_id, attempt FROM claim_requests(%s, %s * interval '1 second', %s)"
# So often a model is called for one claim of a request.
MAX_ATTEMPTS = 3
# So many claims that came to nothing: whoever asks dies of it, or the model is away for good.
MAX_CLAIMS = 10
# While the model is away a request waits so long for its next claim, doubled each time: three hours in all.
OUTAGE_S = (30.0, 3600.0)
# Before the second attempt, doubled before each one after it; a provider may ask for more.
BACKOFF_S = (0.25, 1.0)
MOST_PAUSE_S = 30.0
RECONNECT_PAUSE_S = 0.25
SUSPENDED_PAUSE_S = 0.5
LEASE_S = 30.0
LOCAL_BATCH = 100
# How long stop() lets what is in hand finish.
GRACE_S = 2.0


class Worker:
    """Answers queued requests with one agent until stopped. `conninfo` is for the role writer, to claim with.

    `batch` requests at most are in hand; by default many for an agent that works here, and few for one that asks
    elsewhere, so that other workers find something to do.

    Claims are renewed while their requests are in hand, so a lease is only as long as a death may go unnoticed.
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
        self._ledger = ledger
        self._agent = agent
        self._conninfo = conninfo
        self._batch = batch or (LOCAL_BATCH if agent.deterministic else AT_A_TIME * 2)
        self._lease_s = lease_s
        self._outage_s = outage_s
        self._renewed = 0.0
        # Requests to leave alone, and for how long: told to the database by the loop, whose connection it is.
        self._later: dict[int, float] = {}
        self._idle_s = idle_s
        self._name = f"{socket.gethostname()}:{os.getpid()}:{agent.name}"
        self._actor = Actor(id=agent.name, kind="agent", role="agent")
        self._asking = Asking(agent)
        self._running: dict[int, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to work."""
        self._task = asyncio.create_task(self._run(), name="worker")

    async def stop(self) -> None:
        """Stops soon; what was claimed and not answered is anybody's when its lease runs out."""
        self._stopping.set()
        tasks = {*self._running.values(), *([self._task] if self._task else [])}
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._asking.close()

    async def _run(self) -> None:
        troubled = False
        while not self._stopping.is_set():
            try:
                async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as conn:
                    while not self._stopping.is_set():
                        await self._work(conn)
                        troubled = False
            except (psycopg.Error, LedgerError) as error:
                if not troubled:  # once, not four times a second for as long as the database is down
                    log.warning("worker: %s; trying again until it works", type(error).__name__)
                troubled = True
                await self._pause(RECONNECT_PAUSE_S)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _work(self, conn: AsyncConnection) -> None:
        """Claims what there is room for, and sees to it that it is answered; pauses where there is nothing."""
        await self._hold(conn)
        if await self._ledger.agents.is_suspended(self._agent.name):
            await self._pause(SUSPENDED_PAUSE_S)
            return
        # In halves: claiming one by one as each is answered would cost a statement for each.
        while len(self._running) > self._batch // 2:
            running = self._running.values()
            await asyncio.wait(running, timeout=self._lease_s / 3, return_when=asyncio.FIRST_COMPLETED)
            await self._hold(conn)
        most = self._batch - len(self._running)
        cursor = await conn.execute(CLAIM, [self._name, self._lease_s, most], prepare=True)
        attempts = dict(await cursor.fetchall())
        if not attempts:
            await self._pause(self._idle_s)
            return
        # A claim may run out while its request is still in hand here.
        fresh = [number for number in attempts if number not in self._running]
        for request in await self._ledger.readers.run(lambda conn: contexts(conn, fresh)):
            number = request.request_id
            self._running[number] = task = asyncio.create_task(self._answer(request, attempts[number]))
            task.add_done_callback(partial(self._ended, number))

    async def _hold(self, conn: AsyncConnection) -> None:
        """Renews the claims on what is in hand, and puts off what is to be left for later."""
        while self._later:
            number, pause_s = self._later.popitem()
            await conn.execute(HOLD, [self._name, pause_s, [number]], prepare=True)
        if self._running and monotonic() - self._renewed > self._lease_s / 3:
            await conn.execute(HOLD, [self._name, self._lease_s, list(self._running)], prepare=True)
            self._renewed = monotonic()

    def _ended(self, number: int, task: asyncio.Task[None]) -> None:
        del self._running[number]
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("request %d: a fault of ours: %s; it is claimed again later", number, type(fault).__name__)

    async def _answer(self, request: AgentRequest, claim: int) -> None:
        """Raises nothing: one request's trouble is not its neighbours'. What is not recorded is claimed again later."""
        try:
            if claim > MAX_CLAIMS:
                await self._record(request.request_id, Outcome(RequestFailed(reason="agent-fault")))
                return
            await self._ask(request, claim)
        except Refused as refusal:
            if refusal.code == "agent-suspended":
                self._later[request.request_id] = 0.0
            log.info("request %d: nothing was recorded: %s", request.request_id, refusal.code)
        except LedgerError as error:
            log.warning("request %d: its answer is not recorded: %s", request.request_id, type(error).__name__)

    async def _ask(self, request: AgentRequest, claim: int) -> None:
        """Asks until there is an answer, or a refusal, or it was tried often enough; in an outage, later again."""
        for left in reversed(range(MAX_ATTEMPTS)):
            outcome = await self._attempt(request)
            later = outcome.outage and not left and claim < MAX_CLAIMS
            if outcome.final or not (left or later):
                await self._record(request.request_id, outcome)
                return
            if outcome.call_id is not None and outcome.ended is not None:
                await self._ledger.requests.end_call(self._actor, outcome.call_id, outcome.ended)
            if later:
                least_s, most_s = self._outage_s
                self._later[request.request_id] = min(least_s * 2 ** (claim - 1), most_s)
                return
            pause_s = random.uniform(*BACKOFF_S) * 2 ** (MAX_ATTEMPTS - 1 - left)  # noqa: S311 - no secret
            await asyncio.sleep(max(pause_s, min(outcome.retry_after_s or 0, MOST_PAUSE_S)))

    async def _attempt(self, request: AgentRequest) -> Outcome:
        """One model call, recorded before it is made."""
        prepared = await self._asking.prepare(request)
        if isinstance(prepared, Outcome):
            return prepared
        schema = self._agent.answer_schema
        started = await self._ledger.requests.start_call(
            self._actor, request.request_id, prepared, answer_schema=schema
        )
        return await self._asking.answer(request, prepared, started.position)

    async def _record(self, request_id: int, outcome: Outcome) -> None:
        """The end of the call and what came of it, together."""
        ended = None if outcome.call_id is None or outcome.ended is None else (outcome.call_id, outcome.ended)
        try:
            await self._ledger.requests.answer(self._actor, request_id, outcome.event, ended=ended)
        except InvalidEvent:  # NaN, a lone surrogate, or more than may be recorded
            await self._give_up(request_id, outcome)
        except Refused as refusal:
            if refusal.code == "answer-off-schema":
                await self._give_up(request_id, outcome)
                return
            # Somebody else was faster: the call was made all the same, and ends on record.
            if ended is not None and refusal.code != "model-call-ended":
                await self._ledger.requests.end_call(self._actor, *ended)
            raise

    async def _give_up(self, request_id: int, outcome: Outcome) -> None:
        log.warning("agent %s: its answer to request %d may not be recorded", self._agent.name, request_id)
        fault = CallFault(error_type="invalid-answer")
        ended = None if outcome.call_id is None else (outcome.call_id, fault)
        failed = RequestFailed(reason="invalid-answer")
        await self._ledger.requests.answer(self._actor, request_id, failed, ended=ended)
