"""Access the table `jobs`: request, read and cancel jobs; and the runner's statements.

Each write is one SQL function.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import orjson

from api.jobs.kind import DAY_S, AnyKind, JobParameters, Recurrence, Result
from ledger.database import AsyncConnection, Connection
from ledger.errors import IdConflict, NotFound, Refused, Unavailable
from ledger.store.readers import Readers

HERE = Path(__file__).parent
LIST, COUNTS, EXPIRED = ((HERE / f"{name}.sql").read_bytes() for name in ("list", "counts", "expired"))
ASK = "SELECT job, same FROM ask_job(%s, %s, %s, %s, %s * interval '1 second', %s)"
CLAIM = "SELECT job, kind, parameters, asked_by, attempt, done, total FROM claim_job(%s, %s, %s * interval '1 second')"
HOLD = "SELECT hold_job(%s, %s, %s, %s * interval '1 second', %s, %s)"
PUT_BACK = "SELECT put_back_job(%s, %s, %s, %s * interval '1 second', %s, %s)"
END = "SELECT end_job(%s, %s, %s, %s, %s, %s * interval '1 second', %s, %s)"
CANCEL = "SELECT cancel_job(%s, %s * interval '1 second')"
# The interval by the database's clock, which is the same for all processes.
INTERVAL = "SELECT floor(extract(epoch FROM clock_timestamp()) / %s::numeric)::bigint"
FORGET = "SELECT forget_job(%s)"
# Columns of list.sql that are JSON.
PARAMETERS, RESULT = 2, 7
# A cancelled job is shown for so many seconds.
KEEP_CANCELLED_S = 7 * DAY_S
RECURRING = UUID("7c9a8f10-90c4-4a9e-9d0b-3b2a54d4f1c6")
# The number of jobs that are expired at once.
EXPIRED_AT_ONCE = 100


@dataclass(frozen=True)
class Job:
    """A job as people read it. `done` of `total` units; 0 of 0 if unknown."""

    id: int
    kind: str
    parameters: dict[str, Any]
    asked_by: str
    state: str
    done: int
    total: int
    result: Result | None
    # The name of the error, if the job has failed or is tried again.
    error: str | None
    attempt: int
    not_before: datetime
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime | None


class ClaimedJob(NamedTuple):
    """A job that this worker has until its lease ends. The progress is that of an earlier run."""

    id: int
    kind: str
    parameters: str
    asked_by: str
    attempt: int
    done: int
    total: int


class JobCount(NamedTuple):
    """The numbers of jobs of a kind in the table. `oldest_s`: how long the first job that could begin has waited."""

    kind: str
    queued: int
    running: int
    failed: int
    oldest_s: float


@dataclass(frozen=True)
class JobQueue:
    """Read in the role reader and write in the role writer; `writing` is None in a process that only reads.

    A statement whose answer was lost is sent again, which does no harm: a key requests a job once, an unknown claim
    ends with its lease, and the other statements do nothing the second time.
    """

    readers: Readers
    writing: Readers | None

    async def ask(self, kind: AnyKind, parameters: JobParameters, asked_by: str, key: UUID, pause_s: float = 0) -> int:
        """Queue a job, once for each key; return its id. It begins after `pause_s` at the earliest.

        Raises IdConflict if the key asked for another job, Refused `too-many-jobs`, Unavailable.
        """
        text = parameters.model_dump_json()
        row = await self._write(ASK, [key, kind.name, text, asked_by, pause_s, kind.most_waiting])
        job, same = row or (None, True)
        if not same:
            raise IdConflict("this key has asked for another job")
        if job is None:
            raise Refused("too-many-jobs", f"{kind.most_waiting} jobs of this kind wait already: wait for one to end")
        return int(job)

    async def ask_recurring(self, kind: AnyKind, asked_by: str) -> None:
        """Queue the job of the present interval, unless one of its kind still waits or runs. Raises Unavailable."""
        row = await self.readers.fetch_one(INTERVAL, [kind.every_s])
        assert row is not None, "it is one row"
        key = uuid5(RECURRING, f"{kind.name}\n{kind.every_s}\n{row[0]}")
        with contextlib.suppress(Refused):
            await self.ask(kind, Recurrence(interval=row[0]), asked_by, key)

    async def claim(self, worker: str, kinds: Sequence[str], lease_s: float) -> ClaimedJob | None:
        """Claim one job of these kinds; None if there is none to begin."""
        row = await self._write(CLAIM, [worker, list(kinds), lease_s])
        return None if row is None else ClaimedJob(*row)

    async def hold(self, job: ClaimedJob, worker: str, lease_s: float, done: int, total: int) -> bool:
        """Renew the lease and note the progress; False if the job is no longer this worker's."""
        return _first(await self._write(HOLD, [job.id, worker, job.attempt, lease_s, done, total]))

    async def put_back(
        self, job: ClaimedJob, worker: str, pause_s: float, error: str | None = None, *, counted: bool = False
    ) -> bool:
        """Queue the job again, after a pause. The claim counts as an attempt only if `counted` is true."""
        return _first(await self._write(PUT_BACK, [job.id, worker, job.attempt, pause_s, error, counted]))

    async def done(self, job: ClaimedJob, worker: str, keep_s: float, result: Result, units: int) -> bool:
        """End the job with its result, and all its units of work done."""
        text = orjson.dumps(result).decode()
        return _first(await self._write(END, [job.id, worker, job.attempt, text, None, keep_s, units, units]))

    async def failed(self, job: ClaimedJob, worker: str, keep_s: float, error: str, progress: tuple[int, int]) -> bool:
        """End the job with the name of an error, and how much was done of it."""
        return _first(await self._write(END, [job.id, worker, job.attempt, None, error, keep_s, *progress]))

    async def cancel(self, job: int) -> str:
        """Cancel a job that has not ended; return its state after that. Raises NotFound `job-unknown`."""
        row = await self._write(CANCEL, [job, KEEP_CANCELLED_S])
        if row is None or row[0] is None:
            raise job_unknown()
        return str(row[0])

    async def expired(self, kinds: Sequence[str]) -> list[tuple[int, str, str]]:
        """Return jobs that have expired, with their kinds and parameters."""

        async def work(conn: AsyncConnection) -> list[tuple[int, str, str]]:
            return await (await conn.execute(EXPIRED, [list(kinds), EXPIRED_AT_ONCE], prepare=True)).fetchall()

        return await self.readers.run_short(work)

    async def forget(self, job: int) -> None:
        """Delete a job that has ended and expired."""
        await self._write(FORGET, [job])

    async def read(self, limit: int, **filters: object) -> list[Job]:
        """Return jobs, the newest first; `filters` are those of list.sql."""

        async def work(conn: AsyncConnection) -> list[Job]:
            return [_job(row) for row in await (await conn.execute(LIST, filtered(limit, filters))).fetchall()]

        return await self.readers.run_short(work)

    async def get(self, job: int, **filters: object) -> Job:
        """Return one job. Raises NotFound `job-unknown`."""
        found = await self.read(1, id=job, **filters)
        if not found:
            raise job_unknown()
        return found[0]

    async def _write(self, query: str, parameters: Sequence[object]) -> tuple[Any, ...] | None:
        if self.writing is None:
            raise Unavailable("this process only reads, so it asks for no jobs and runs none")
        return await self.writing.fetch_one(query, parameters)


def job_unknown() -> NotFound:
    """Return the error for a job that never existed, that is not the caller's, or that has expired."""
    return NotFound("job-unknown", "there is no such job, or it has expired; GET /jobs lists those that you may read")


def filtered(limit: int, filters: dict[str, object]) -> dict[str, object]:
    """Return the parameters of list.sql."""
    return {**dict.fromkeys(("id", "before_id", "kind", "state", "asked_by")), **filters, "limit": limit}


def list_jobs(conn: Connection, limit: int, **filters: object) -> list[Job]:
    """Read jobs as `JobQueue.read` does, for the command line."""
    return [_job(row) for row in conn.execute(LIST, filtered(limit, filters)).fetchall()]


async def count_jobs(conn: AsyncConnection) -> list[JobCount]:
    """Count the jobs of each kind."""
    return [JobCount(*row) for row in await (await conn.execute(COUNTS, prepare=True)).fetchall()]


def _job(row: tuple[Any, ...]) -> Job:
    job = Job(*row)
    result = None if row[RESULT] is None else orjson.loads(row[RESULT])
    return replace(job, parameters=orjson.loads(row[PARAMETERS]), result=result)


def _first(row: tuple[Any, ...] | None) -> bool:
    return row is not None and bool(row[0])
