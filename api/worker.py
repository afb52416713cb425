"""The worker: claims queued requests, asks an agent, records its answer.

Several workers, in any processes, share the queue: a claim is a row with a lease (schema/functions/claim_requests.sql).
A worker that dies loses its claims when the lease runs out, and another takes them. Two that both believe to hold one
cannot both answer: the append expects the stream's version, and the second is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import psycopg

from api.agents.protocol import Agent, AgentAnswer, AgentRefused, AgentRequest
from api.service import Ledger
from ledger.envelope import Actor
from ledger.errors import InvalidEvent, LedgerError, Refused
from ledger.store import AsyncConnection
from projections import reads
from projections.engine import projection
from schema.events import RecommendationRecorded, RequestFailed

log = logging.getLogger(__name__)

CLAIM = "SELECT request_id, attempt FROM claim_requests(%s, %s * interval '1 second', %s)"
# An agent that fails so often will not answer this request.
MAX_ATTEMPTS = 3
# So many claims that came to nothing: whoever asks dies of it.
MAX_CLAIMS = 10
AGENT_THREADS = 8
RECONNECT_PAUSE_S = 0.25
# How long stop() lets the batch in hand finish.
GRACE_S = 2.0

Outcome = RecommendationRecorded | RequestFailed


class Worker:
    """Answers queued requests with one agent until stopped. `conninfo` is for the role writer, to claim with."""

    def __init__(
        self,
        ledger: Ledger,
        agent: Agent,
        conninfo: str,
        *,
        batch: int = 50,
        lease_s: float = 30.0,
        idle_s: float = 0.1,
    ) -> None:
        self._ledger = ledger
        self._agent = agent
        self._conninfo = conninfo
        self._batch = batch
        self._lease_s = lease_s
        self._idle_s = idle_s
        self._name = f"{socket.gethostname()}:{os.getpid()}:{agent.name}"
        self._actor = Actor(id=agent.name, kind="agent", role="agent")
        # Not asyncio's own threads: agents may keep theirs busy for minutes.
        self._threads = ThreadPoolExecutor(AGENT_THREADS, thread_name_prefix="agent")
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to work."""
        self._task = asyncio.create_task(self._run(), name="worker")

    async def stop(self) -> None:
        """Stops soon; what was claimed and not answered is anybody's when its lease runs out."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=GRACE_S)
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        troubled = False
        while not self._stopping.is_set():
            try:
                async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as conn:
                    while not self._stopping.is_set():
                        if not await self._work(conn):
                            await self._pause(self._idle_s)
                        troubled = False
            except (psycopg.Error, LedgerError) as error:
                if not troubled:  # once, not four times a second for as long as the database is down
                    log.warning("worker: %s; trying again until it works", type(error).__name__)
                troubled = True
                await self._pause(RECONNECT_PAUSE_S)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _work(self, conn: AsyncConnection) -> int:
        """Claims and answers one batch; how many requests were in it."""
        cursor = await conn.execute(CLAIM, [self._name, self._lease_s, self._batch], prepare=True)
        attempts = dict(await cursor.fetchall())
        if attempts:
            requests = await self._read(list(attempts))
            async with asyncio.TaskGroup() as group:
                for request in requests:
                    group.create_task(self._answer(request, attempts[request.request_id]))
        return len(attempts)

    async def _read(self, ids: list[int]) -> list[AgentRequest]:
        async def work(conn: AsyncConnection) -> list[dict[str, Any]]:
            return await reads.rows(
                conn, projection("portfolio_requests"), {"ids": ids}, moment=reads.Moment(), limit=len(ids)
            )

        return [
            AgentRequest(
                request_id=row["id"],
                risk_profile=row["risk_profile"],
                amount_usd=row["amount_usd"],
                horizon_years=row["horizon_years"],
                objectives=tuple(row["objectives"] or ()),
                constraints=row["constraints"] or {},
                notes=row["notes"],
            )
            for row in await self._ledger.readers.run(work)
        ]

    async def _answer(self, request: AgentRequest, attempt: int) -> None:
        """Raises nothing: one request's trouble is not its neighbours'. What is not recorded is claimed again later."""
        outcome = await self._outcome(request) if attempt <= MAX_CLAIMS else None
        if outcome is None and attempt >= MAX_ATTEMPTS:
            outcome = RequestFailed(reason="agent-fault")
        if outcome is None:
            return
        try:
            await self._record(request.request_id, outcome)
        except Refused as refusal:
            log.info("request %d was answered by somebody else: %s", request.request_id, refusal.code)
        except LedgerError as error:
            log.warning("request %d: its answer is not recorded: %s", request.request_id, type(error).__name__)

    async def _record(self, request_id: int, outcome: Outcome) -> None:
        try:
            await self._ledger.answer_request(self._actor, request_id, outcome)
        except InvalidEvent:  # NaN, a lone surrogate, or more than may be recorded
            log.warning("agent %s: its answer to request %d may not be recorded", self._agent.name, request_id)
            await self._ledger.answer_request(self._actor, request_id, RequestFailed(reason="invalid-answer"))

    async def _outcome(self, request: AgentRequest) -> Outcome | None:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, request)

    def _ask(self, request: AgentRequest) -> Outcome | None:
        """In a thread, as an agent may take its time. None where the agent failed."""
        with Caught() as caught:
            try:
                return _recorded(self._agent.recommend(request))
            except AgentRefused as refusal:
                return RequestFailed(reason=refusal.reason, detail=str(refusal))
        log.warning("agent %s failed on request %d: %s", self._agent.name, request.request_id, caught.kind)
        return None


def _recorded(answer: AgentAnswer) -> RecommendationRecorded:
    return RecommendationRecorded(
        recommendation=answer.recommendation,
        model_name=answer.model_name,
        model_version=answer.model_version,
        parameters=answer.parameters,
        prompt=answer.prompt,
    )


class Caught(AbstractContextManager["Caught"]):
    """Ends any exception of foreign code, an agent's, and keeps the name of its class; its message may be personal."""

    kind = ""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        self.kind = kind.__name__ if kind else ""
        return kind is not None and issubclass(kind, Exception)
