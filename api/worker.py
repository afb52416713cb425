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
from collections.abc import Sequence
from typing import Any

import psycopg

from api.agents.protocol import Agent, AgentRefused, AgentRequest
from api.service import Ledger
from ledger.envelope import Actor
from ledger.errors import LedgerError, Refused
from ledger.store import AsyncConnection
from projections import reads
from projections.engine import projection
from schema.events import RecommendationRecorded, RequestFailed

log = logging.getLogger(__name__)

CLAIM = "SELECT request_id, attempt FROM claim_requests(%s, %s * interval '1 second', %s)"
MAX_ATTEMPTS = 3
RECONNECT_PAUSE_S = 0.25

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
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to work."""
        self._task = asyncio.create_task(self._run(), name="worker")

    async def stop(self) -> None:
        """Stops at once; what was claimed and not answered is anybody's when its lease runs out."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as conn:
                    while True:
                        if not await self._work(conn):
                            await asyncio.sleep(self._idle_s)
            except (psycopg.OperationalError, LedgerError) as error:
                log.warning("worker: %s; trying again", type(error).__name__)
                await asyncio.sleep(RECONNECT_PAUSE_S)

    async def _work(self, conn: AsyncConnection) -> int:
        """Claims and answers one batch; how many requests were in it."""
        cursor = await conn.execute(CLAIM, [self._name, self._lease_s, self._batch], prepare=True)
        attempts = dict(await cursor.fetchall())
        if attempts:
            requests = await self._read(list(attempts))
            outcomes = await asyncio.to_thread(self._ask_all, requests, attempts)
            async with asyncio.TaskGroup() as group:
                for request_id, outcome in outcomes:
                    group.create_task(self._record(request_id, outcome))
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

    def _ask_all(self, requests: Sequence[AgentRequest], attempts: dict[int, int]) -> list[tuple[int, Outcome]]:
        """Runs in a thread, as an agent may take its time. Requests left out are tried again after their lease."""
        answered = []
        for request in requests:
            outcome = self._ask(request, attempts[request.request_id])
            if outcome is not None:
                answered.append((request.request_id, outcome))
        return answered

    def _ask(self, request: AgentRequest, attempt: int) -> Outcome | None:
        try:
            answer = self._agent.recommend(request)
        except AgentRefused as refusal:
            return RequestFailed(reason=refusal.reason, detail=str(refusal))
        except Exception as error:  # noqa: BLE001 - an agent is foreign code; its fault must end in a record, not the worker
            log.warning("agent %s failed on request %d: %s", self._agent.name, request.request_id, type(error).__name__)
            return RequestFailed(reason="agent-fault") if attempt >= MAX_ATTEMPTS else None
        return RecommendationRecorded(
            recommendation=answer.recommendation,  # type: ignore[arg-type]
            model_name=answer.model_name,
            model_version=answer.model_version,
            parameters=answer.parameters,  # type: ignore[arg-type]
            prompt=answer.prompt,
        )

    async def _record(self, request_id: int, outcome: Outcome) -> None:
        try:
            await self._ledger.answer_request(self._actor, request_id, outcome)
        except Refused as refusal:
            log.info("request %d was answered by somebody else: %s", request_id, refusal.code)
