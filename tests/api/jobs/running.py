"""Kinds of jobs for tests, and a runner alone, in this process or in one that kills itself at a step."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from api.jobs.kind import AnyKind, JobKind, JobParameters, JobRun, JobTools, Result
from api.jobs.queue import ClaimedJob, Job, JobQueue
from api.jobs.runner import JobRunner
from ledger.database import conninfo
from ledger.store.readers import Readers
from schema.states import JobState
from tests.faults.workers import opened

# The lease of a runner that is killed: the time until another one takes its job.
SHORT_LEASE_S = 0.4
OPEN = {JobState.QUEUED, JobState.RUNNING}
# Work of a process of its own, on a ledger and in a folder, that dies at a step: a function of a module.
Work = Callable[[str, str, Path], Coroutine[Any, Any, None]]


class Counted(JobParameters):
    """Parameters of a job of tests."""

    number: int


def kind(run: Callable[[JobRun[Counted]], Awaitable[Result]], name: str = "test", **options: Any) -> JobKind[Counted]:
    """Make a kind that calls a function of the test."""
    return JobKind(name=name, parameters=Counted, run=run, permission=None, **options)


async def twice(run: JobRun[Counted]) -> Result:
    """Double the number."""
    run.progress(1, 2)
    return {"twice": run.parameters.number * 2}


@contextlib.asynccontextmanager
async def queue_of(url: str) -> AsyncIterator[JobQueue]:
    """Open the table of a ledger."""
    readers, writing = (Readers(conninfo(url, role), most=2, patience_s=5) for role in ("reader", "writer"))
    await readers.open()
    await writing.open()
    try:
        yield JobQueue(readers, writing)
    finally:
        await readers.close()
        await writing.close()


@contextlib.asynccontextmanager
async def runner(url: str, queue: JobQueue, *kinds: AnyKind, lease_s: float = 30.0) -> AsyncIterator[JobRunner]:
    """Run jobs of these kinds while the block runs."""
    async with opened(url) as ledger:
        tools = JobTools(ledger, lambda role, _: conninfo(url, role))
        found = JobRunner(queue, kinds, tools, lease_s=lease_s, idle_s=0.02)
        found.start()
        try:
            yield found
        finally:
            await found.stop()


async def ask(queue: JobQueue, asked: AnyKind, number: int = 1, **options: Any) -> int:
    """Ask for a job."""
    return await queue.ask(asked, Counted(number=number), options.pop("by", "clerk"), uuid.uuid4(), **options)


async def until(queue: JobQueue, condition: Callable[[list[Job]], bool], within_s: float = 20.0) -> list[Job]:
    """Wait until this is true of all jobs; return them, the oldest first."""
    jobs: list[Job] = []

    async def look() -> None:
        while not condition(found := (await queue.read(1000))[::-1]):
            pass
        jobs[:] = found

    await asyncio.wait_for(look(), within_s)
    return jobs


async def ended(queue: JobQueue) -> list[Job]:
    """Wait until all jobs have ended."""
    return await until(queue, lambda jobs: not any(job.state in OPEN for job in jobs))


def die() -> None:
    """Kill this process, as the system or an operator does: nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


class Killing(JobQueue):
    """A table whose process dies before or after one of the steps."""

    step: str = ""

    def at(self, step: str) -> None:
        """Die if this is the step."""
        if step == self.step:
            die()

    async def claim(self, worker: str, kinds: Sequence[str], lease_s: float) -> ClaimedJob | None:
        job = await super().claim(worker, kinds, lease_s)
        if job is not None:
            self.at("claimed")
        return job

    async def done(self, job: ClaimedJob, worker: str, keep_s: float, result: Result, units: int) -> bool:
        self.at("before the end")
        found = await super().done(job, worker, keep_s, result, units)
        self.at("after the end")
        return found

    async def forget(self, job: int) -> None:
        self.at("before it is forgotten")
        await super().forget(job)
        self.at("after it is forgotten")


STEPS = (
    "claimed",
    "before the effect",
    "in the effect",
    "after the effect",
    "before the end",
    "after the end",
    "before the expiry",
    "before it is forgotten",
    "after it is forgotten",
)


async def do_jobs(url: str, step: str, folder: Path) -> None:
    """Run the job "writes one file" until it is forgotten, or die at a step."""
    async with queue_of(url) as plain:
        queue = Killing(plain.readers, plain.writing)
        object.__setattr__(queue, "step", step)

        async def run(job: JobRun[Counted]) -> Result:
            queue.at("before the effect")
            target = folder / f"{job.parameters.number}"
            if target.exists():
                return {"found": True}
            part = target.with_suffix(".part")
            part.write_text("half")
            queue.at("in the effect")
            part.write_text("the work")
            part.replace(target)
            with (folder / "effects").open("a") as effects:
                effects.write("x")
            queue.at("after the effect")
            return {"found": False}

        async def expire(parameters: Counted, _tools: JobTools) -> None:
            queue.at("before the expiry")
            (folder / f"{parameters.number}").unlink(missing_ok=True)

        async with runner(url, queue, kind(run, expire=expire, keep_s=0.0), lease_s=SHORT_LEASE_S) as found:
            found._expire_at_s = float("inf")
            jobs = await ended(queue)
            for job in jobs:
                assert job.state == JobState.DONE
                target = folder / f"{job.parameters['number']}"
                assert not target.exists() or target.read_text() == "the work"
            found._expire_at_s = 0
            await until(queue, lambda jobs: not jobs)


def run_in_loop(work: Work, url: str, step: str, folder: str) -> None:
    """Run `work` in a process of its own."""
    asyncio.run(work(url, step, Path(folder)))


def in_process(work: Work, url: str, step: str, folder: Path) -> int:
    """Run `work` in a new process, forked from one that has imported its module already; return its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([work.__module__])
    process = context.Process(target=run_in_loop, args=(work, url, step, str(folder)))
    process.start()
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode
