"""Define a kind of job: one registered object that says how its jobs are run, and with which rights.

`run` may be called again for a job that it has begun, because its process was killed, its lease ended, or it raised an
error. So it first checks what an earlier run has done, and does only the rest. The kind decides what it records in the
chain.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from api.jobs.mail import MailSettings
from api.jobs.webhook import WebhookSettings
from ledger.service.ledger import Ledger
from ledger.store.recorder import Recorder

P = TypeVar("P", bound="JobParameters")
T = TypeVar("T")

Result = dict[str, Any]
# Short jobs do not wait for long ones: see MOST_AT_ONCE in runner.py.
Lane = Literal["short", "long", "network"]
DAY_S = 86_400.0
# The time that a thread of a stopped job may continue, until it next reports its progress.
THREAD_S = 2.0


class JobParameters(BaseModel):
    """The parameters of a job: ids and numbers, nothing personal. They are stored in clear until the job expires."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Recurrence(JobParameters):
    """The interval of a job that recurs, counted from 1970 by the database's clock."""

    interval: int


class JobFailed(Exception):
    """The job has failed for good. `name` is shown to those who read the job: a to z, 0 to 9 and -."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class TryLater(Exception):
    """The job cannot continue now.

    It is tried again after `pause_s`, without limit: the kind counts its attempts itself.
    """

    def __init__(self, name: str, pause_s: float) -> None:
        super().__init__(name)
        self.name = name
        self.pause_s = pause_s


class JobStopped(Exception):
    """Raised in a thread of a job that was cancelled, lost its lease, or whose process stops."""


@dataclass(frozen=True)
class JobFiles:
    """The folder for files that jobs make, which only this account can read, and how long they are kept."""

    folder: Path
    keep_s: float = 7 * DAY_S


@dataclass(frozen=True)
class JobTools:
    """The tools of jobs. `conninfo` returns the connection string for a role and an application name."""

    ledger: Ledger
    conninfo: Callable[[str, str], str]
    # The recorder that attests what jobs append on their own connections; None if the ledger has no recording keys.
    recorder: Recorder | None = None
    # None if this process has no folder for files.
    files: JobFiles | None = None
    # The keys of the transparency log, as a bundle claims them.
    verifier_keys: tuple[str, ...] = ()
    # The settings for sending messages to endpoints; None if this process sends none.
    webhooks: WebhookSettings | None = None
    # The mail server; None without one.
    mail: MailSettings | None = None
    # The address that links in messages begin with.
    link_base: str = ""
    # The list of erasures that is kept outside the database; None if this process keeps none.
    erasures_file: Path | None = None


@dataclass
class JobRun(Generic[P]):
    """One run of a job, the argument of `run`. `conninfo` is for the role of the kind."""

    job: int
    asked_by: str
    # The number of this claim, from 1.
    attempt: int
    parameters: P
    tools: JobTools
    conninfo: str
    done: int = 0
    total: int = 0
    # How long the job is shown once it is done, if this differs from its kind.
    keep_s: float | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)

    def progress(self, done: int, total: int) -> None:
        """Note how much is done. Raises JobStopped if the job is to stop. May be called from any thread."""
        self.done, self.total = done, total
        if self._stopped.is_set():
            raise JobStopped

    def pause(self, seconds: float) -> None:
        """Wait, in a thread. Raises JobStopped if the job is to stop."""
        if self._stopped.wait(seconds):
            raise JobStopped

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Return the result of `work`, run in a thread. If the job stops, the thread has THREAD_S to notice."""
        task = asyncio.create_task(asyncio.to_thread(work))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._stopped.set()
            await asyncio.wait({task}, timeout=THREAD_S)
            if task.done() and not task.cancelled():
                task.exception()  # retrieve it: the thread stopped because it was told to
            raise


async def _nothing(_parameters: JobParameters, _tools: JobTools) -> None:
    """Do nothing: the jobs leave nothing behind."""


@dataclass(frozen=True)
class JobKind(Generic[P]):
    """How the jobs of one kind are run. Register it in api/jobs/kinds.py."""

    # a to z, 0 to 9 and -. It never changes, because rows of the table have it.
    name: str
    parameters: type[P]
    run: Callable[[JobRun[P]], Awaitable[Result]]
    # The permission of the access policy that a caller needs to request it; None if only the program requests it.
    permission: str | None
    # The role of the database in which `run` connects, beside the ledger's own writer and readers.
    role: str = "reader"
    lane: Lane = "short"
    # The number of runs that may fail for an unknown reason before the job has failed. The pause between them doubles
    # from a second.
    attempts: int = 5
    # The number of jobs that one subject may have waiting or running.
    most_waiting: int = 10
    # How long a job that has ended is shown. Then `expire` is called (again if its process dies), and the job is
    # forgotten.
    keep_s: float = 7 * DAY_S
    expire: Callable[[P, JobTools], Awaitable[None]] = _nothing
    # For recurring work: the job is requested once in each interval of so many seconds. Its parameters are Recurrence.
    every_s: float | None = None
    # False in a process that leaves these jobs to others because it lacks what they need.
    can_run: Callable[[JobTools], bool] = lambda _tools: True
    # Returns the jobs that the record calls for, with their keys. They are requested again and again, but each runs
    # once.
    due: Callable[[JobTools], Awaitable[Sequence[tuple[UUID, P]]]] | None = None


# A kind of any parameters: `JobKind` is invariant in them.
AnyKind = JobKind[Any]
