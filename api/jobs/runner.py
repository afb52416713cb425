"""Claim jobs, run them, and end them. Each process of `serve` has one runner, and all share the table.

A claim is a lease (schema/functions/claim_job.sql). If a process dies, the leases of its jobs end and other processes
run them again. A runner that cannot renew a lease in time stops the job before the lease ends. So at most one of two
workers runs a job, unless one of them sleeps; and only the worker that has the claim can end the job.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

from pydantic import ValidationError

from api.jobs.kind import AnyKind, JobFailed, JobRun, JobTools, Lane, TryLater
from api.jobs.queue import ClaimedJob, JobQueue
from ledger.background import WorkerStatus, place_of
from ledger.domain.monitoring.delivery import MOST_ENDPOINTS
from ledger.errors import LedgerError, Unavailable

log = logging.getLogger(__name__)

LEASE_S = 30.0
# The seconds between two looks for jobs that other processes queued, or whose pause is over.
IDLE_S = 1.0
# The seconds between two looks for jobs that have expired.
EXPIRE_S = 60.0
# The number of times in an interval that it requests recurring work, which is done once in the interval.
INTERVAL_LOOKS = 10
# The number of jobs that one process runs at a time. Those of the network wait for others: each endpoint has a place.
MOST_AT_ONCE: dict[Lane, int] = {"short": 4, "long": 1, "network": MOST_ENDPOINTS}
# The pause after the first failed run, which doubles each time, and the longest pause.
PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
RETRY_S = 0.25
STOP_S = 4.0
# The errors of jobs whose processes died each time, and of jobs that no version of the kind can read.
GAVE_UP = "gave-up"
BAD_PARAMETERS = "bad-parameters"
# The subject that requests jobs that the record calls for.
PROGRAM = "advice-ledger"


@dataclass
class _Running:
    job: ClaimedJob
    kind: AnyKind
    run: JobRun[Any]
    task: asyncio.Task[None]
    # The time at which the lease was last made or renewed, by this machine's clock, taken before the statement was
    # sent.
    held_s: float


class JobRunner:
    """Run jobs of these kinds until stopped."""

    def __init__(
        self,
        queue: JobQueue,
        kinds: Sequence[AnyKind],
        tools: JobTools,
        *,
        lease_s: float = LEASE_S,
        idle_s: float = IDLE_S,
    ) -> None:
        self.status = WorkerStatus("starting")
        self._queue = queue
        self._kinds = {kind.name: kind for kind in kinds}
        self._tools = tools
        self._lease_s = lease_s
        self._idle_s = idle_s
        self._name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        # By job and attempt, because a worker that was too slow to renew a lease may claim the same job again.
        self._running: dict[tuple[int, int], _Running] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._expire_at_s = 0.0
        self._recurs_at_s: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to run jobs in the background."""
        self._task = asyncio.create_task(self._run(), name="jobs")
        self._task.add_done_callback(self._ended)

    def wake(self) -> None:
        """Look for jobs at once, because this process has queued one."""
        self._wake.set()

    async def stop(self) -> None:
        """Stop all jobs and put them back, so that other processes run them at once; within STOP_S."""
        self._stopping = True
        self._wake.set()
        tasks = [each.task for each in self._running.values()]
        for task in tasks:
            task.cancel()
        if self._task is not None:
            tasks.append(self._task)
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=STOP_S)
            for task in left:
                task.cancel()

    async def _run(self) -> None:
        while not self._stopping:
            try:
                await self._round()
            except Exception as error:  # noqa: BLE001 - a loop that ended unseen would leave all jobs waiting
                self._failed(error)
                await self._pause(RETRY_S)
            else:
                self._works()

    async def _round(self) -> None:
        """Renew the leases, begin as many jobs as there is room for, expire jobs, request due jobs, and wait."""
        await self._renew()
        while not self._stopping and await self._claim():
            pass
        if monotonic() >= self._expire_at_s:
            await self._expire()
            self._expire_at_s = monotonic() + EXPIRE_S
        await self._ask_for_due()
        await self._pause(min(self._idle_s, self._lease_s / 4))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        self._wake.clear()

    async def _claim(self) -> bool:
        """Claim one job and begin it; False if there is no room or no job."""
        lanes = [each.kind.lane for each in self._running.values()]
        kinds = [name for name, kind in self._kinds.items() if lanes.count(kind.lane) < MOST_AT_ONCE[kind.lane]]
        if not kinds:
            return False
        held_s = monotonic()
        job = await self._queue.claim(self._name, kinds, self._lease_s)
        if job is None:
            return False
        kind = self._kinds[job.kind]
        if job.attempt > kind.attempts:
            log.error("job %d (%s) has failed: its process ended in each of its attempts", job.id, kind.name)
            await self._queue.failed(job, self._name, kind.keep_s, GAVE_UP, (job.done, job.total))
            return True
        try:
            run = self._run_of(job, kind)
        except ValidationError:
            log.error("job %d (%s) has failed: its parameters are not of this version", job.id, kind.name)  # noqa: TRY400 - no values
            await self._queue.failed(job, self._name, kind.keep_s, BAD_PARAMETERS, (0, 0))
            return True
        task = asyncio.create_task(self._work(job, kind, run), name=f"job {job.id}")
        self._running[job.id, job.attempt] = _Running(job, kind, run, task, held_s)
        task.add_done_callback(partial(self._over, job.id, job.attempt))
        return True

    def _run_of(self, job: ClaimedJob, kind: AnyKind) -> JobRun[Any]:
        """Make the run. Raises ValidationError."""
        parameters = kind.parameters.model_validate_json(job.parameters)
        conninfo = self._tools.conninfo(kind.role, f"job {kind.name}")
        return JobRun(job.id, job.asked_by, job.attempt, parameters, self._tools, conninfo, job.done, job.total)

    def _over(self, job: int, attempt: int, task: asyncio.Task[None]) -> None:
        del self._running[job, attempt]
        self._wake.set()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            log.warning("job %d: its end is not in the table (%s); it runs again", job, place_of(error))

    async def _renew(self) -> None:
        """Renew the leases of which a third is over. Stop a job that is no longer ours, or may not be."""
        for each in list(self._running.values()):
            age_s = monotonic() - each.held_s
            if age_s < self._lease_s / 3:
                continue
            held_s, run = monotonic(), each.run
            try:
                if await self._queue.hold(each.job, self._name, self._lease_s, run.done, run.total):
                    each.held_s = held_s
                    continue
                log.info("job %d: cancelled, or another process has it", each.job.id)
            except Unavailable:
                if monotonic() - each.held_s < self._lease_s * 2 / 3:
                    raise
                log.warning("job %d: its lease cannot be renewed; it is stopped", each.job.id)
            each.task.cancel()

    async def _work(self, job: ClaimedJob, kind: AnyKind, run: JobRun[Any]) -> None:
        """Run a job and end it, or put it back. The table decides whether it is still ours."""
        try:
            result = await kind.run(run)
        except asyncio.CancelledError:
            if self._stopping:
                await self._queue.put_back(job, self._name, 0)
            raise
        except JobFailed as failed:
            await self._queue.failed(job, self._name, kind.keep_s, failed.name, (run.done, run.total))
        except TryLater as later:
            await self._queue.put_back(job, self._name, later.pause_s, later.name)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job is tried again or has failed
            await self._failed_run(job, kind, run, error)
        else:
            await self._queue.done(job, self._name, run.keep_s or kind.keep_s, result, run.total)

    async def _failed_run(self, job: ClaimedJob, kind: AnyKind, run: JobRun[Any], error: Exception) -> None:
        name = _name_of(error)
        if job.attempt >= kind.attempts:
            log.error("job %d (%s) has failed after %d attempts: %s", job.id, kind.name, job.attempt, place_of(error))
            await self._queue.failed(job, self._name, kind.keep_s, name, (run.done, run.total))
            return
        log.warning("job %d (%s) is tried again: %s", job.id, kind.name, place_of(error))
        await self._queue.put_back(
            job, self._name, min(PAUSE_S * 2 ** (job.attempt - 1), LONGEST_PAUSE_S), name, counted=True
        )

    async def _ask_for_due(self) -> None:
        """Request the jobs that the record or the clock calls for, because the process that recorded an event may have
        died since."""
        for kind in self._kinds.values():
            if kind.every_s is not None and monotonic() >= self._recurs_at_s.get(kind.name, 0.0):
                await self._queue.ask_recurring(kind, PROGRAM)
                self._recurs_at_s[kind.name] = monotonic() + kind.every_s / INTERVAL_LOOKS
            if kind.due is not None:
                for key, parameters in await kind.due(self._tools):
                    await self._queue.ask(kind, parameters, PROGRAM, key)

    async def _expire(self) -> None:
        for job, name, text in await self._queue.expired(list(self._kinds)):
            kind = self._kinds[name]
            with contextlib.suppress(ValidationError):  # a job of another version: this version has made nothing for it
                await kind.expire(kind.parameters.model_validate_json(text), self._tools)
            await self._queue.forget(job)

    def _works(self) -> None:
        if self.status.state == "failing":
            log.info("jobs: work again")
        if self.status.state != "running":
            self.status = WorkerStatus("running")

    def _failed(self, error: Exception) -> None:
        cause = str(error) if isinstance(error, Unavailable) else f"program error: {place_of(error)}"
        if self.status != WorkerStatus("failing", cause):
            log.warning("jobs: %s; trying again until it works", cause)
        self.status = WorkerStatus("failing", cause)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._stopping:
            return
        error = None if task.cancelled() else task.exception()
        cause = "it was cancelled" if error is None else type(error).__name__
        self.status = WorkerStatus("stopped", cause)
        log.critical("the jobs of this process have ended: restart the server (%s)", cause)


def _name_of(error: Exception) -> str:
    """Return the name of an error that no kind has named. Programs may match it, and it reveals nothing personal."""
    if isinstance(error, Unavailable):
        return "unavailable"
    return getattr(error, "code", "refused") if isinstance(error, LedgerError) else "internal"
