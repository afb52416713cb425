"""A kind of job: one registered object that says how its jobs are run, and by whose rights.

`run` may be called again for a job that it has begun: its process was killed, its lease ended, or it raised. So it
first looks what an earlier run has done, and does only the rest. What it records in the chain is up to the kind.
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
Lane = Literal["short", "long"]
DAY_S = 86_400.0
# How long a thread of a job that is stopped may go on: until it reports its progress the next time.
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
    """The job cannot go on now. It is tried again after `pause_s`, without end: the kind counts its attempts itself."""

    def __init__(self, name: str, pause_s: float) -> None:
        super().__init__(name)
        self.name = name
        self.pause_s = pause_s


class JobStopped(Exception):
    """Raised in a thread of a job that was cancelled, lost its lease, or whose process stops."""


@dataclass(frozen=True)
class JobFiles:
    """The folder of files that jobs make, which only this account can read, and how long they are kept."""

    folder: Path
    keep_s: float = 7 * DAY_S


@dataclass(frozen=True)
class JobTools:
    """What jobs work with. `conninfo` says how to connect in a role, and under which name."""

    ledger: Ledger
    conninfo: Callable[[str, str], str]
    # Attests what jobs append on connections of their own; None if the ledger has no recording keys.
    recorder: Recorder | None = None
    # None if this process has no place for files.
    files: JobFiles | None = None
    # The keys of the transparency log, as a bundle claims them.
    verifier_keys: tuple[str, ...] = ()
    # How messages are sent to endpoints; None if this process sends none.
    webhooks: WebhookSettings | None = None
    # The mail server; None if there is none.
    mail: MailSettings | None = None
    # The address that links in messages begin with.
    link_base: str = ""
    # The list of erasures that is kept outside the database; None if this process keeps none.
    erasures_file: Path | None = None


@dataclass
class JobRun(Generic[P]):
    """One run of a job, as `run` gets it. `conninfo` is how to connect in the role of the kind."""

    job: int
    asked_by: str
    # The number of this claim, from 1.
    attempt: int
    parameters: P
    tools: JobTools
    conninfo: str
    done: int = 0
    total: int = 0
    # How long the job is shown once it is done, if that is not as long as its kind says.
    keep_s: float | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)

    def progress(self, done: int, total: int) -> None:
        """Note how much is done. Raises JobStopped if the job is to stop. Callable from any thread."""
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
                task.exception()  # retrieved: it stopped because it was told to
            raise


async def _nothing(_parameters: JobParameters, _tools: JobTools) -> None:
    """Leave nothing behind."""


@dataclass(frozen=True)
class JobKind(Generic[P]):
    """How the jobs of one kind are run. Register it in api/jobs/kinds.py."""

    # a to z, 0 to 9 and -, for good: it stands in rows of the table.
    name: str
    parameters: type[P]
    run: Callable[[JobRun[P]], Awaitable[Result]]
    # The permission of the access policy that a caller needs to ask for it; None if only the program asks.
    permission: str | None
    # The role of the database in which `run` connects, beside the ledger's own writer and readers.
    role: str = "reader"
    lane: Lane = "short"
    # Runs that fail for an unknown reason before the job has failed. The pause between them doubles from a second.
    attempts: int = 5
    # Jobs that one subject may have waiting or running.
    most_waiting: int = 10
    # How long a job that has ended is shown; then `expire` is called, more than once if its process dies, and the job
    # is forgotten.
    keep_s: float = 7 * DAY_S
    expire: Callable[[P, JobTools], Awaitable[None]] = _nothing
    # The work recurs: the job is asked for once in each interval of so many seconds. Its parameters are Recurrence.
    every_s: float | None = None
    # False in a process that leaves these jobs to others, as it lacks what they need.
    can_run: Callable[[JobTools], bool] = lambda _tools: True
    # The jobs that the record says there should be, with their keys: they are asked for again and again, each once.
    due: Callable[[JobTools], Awaitable[Sequence[tuple[UUID, P]]]] | None = None


# A kind of any parameters: `JobKind` is invariant in them.
AnyKind = JobKind[Any]
