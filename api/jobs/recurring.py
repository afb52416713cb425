"""Run recurring work by the database's clock: kinds that check whether something is due.

Each process of `serve` requests the job of the present interval; its key makes it one job for all of them. A job that
waits or runs is not requested again. The commands for the same work record the same events.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from api.jobs.kind import DAY_S, JobKind, JobRun, Recurrence, Result
from ledger.database import AsyncConnection, connect
from ledger.store.envelope import Actor
from projections.decisions.overdue import overdue
from schema.states import JobState

ACTOR = Actor(id="advice-ledger", kind="service", role="scheduler")
HOUR_S = 3600.0
# Selects, for each kind, whether its last job has failed, and the reason.
NEWEST = (
    "SELECT DISTINCT ON (kind) kind, state, error FROM jobs"
    " WHERE kind = ANY (%s) AND state IN ('done', 'failed') ORDER BY kind, id DESC"
)


async def run_expire(run: JobRun[Recurrence]) -> Result:
    """Record that decisions have expired that nobody confirmed in time: `advice-ledger expire`."""

    def due() -> list[int]:
        with connect(run.conninfo) as conn:
            return overdue(conn)

    decisions = await run.in_thread(due)
    expired = 0
    for done, decision in enumerate(decisions, 1):
        expired += await run.tools.ledger.mistakes.expire(ACTOR, decision) is not None
        run.progress(done, len(decisions))
    return {"expired": expired}


async def run_escalate(run: JobRun[Recurrence]) -> Result:
    """Record which alerts nobody acknowledged in time: `advice-ledger monitor escalate`."""
    run.keep_s = HOUR_S
    return {"escalated": await run.tools.ledger.escalations.escalate(ACTOR)}


EXPIRE_DECISIONS: JobKind[Recurrence] = JobKind(
    name="expire-decisions",
    parameters=Recurrence,
    run=run_expire,
    permission=None,
    most_waiting=1,
    keep_s=DAY_S,
    every_s=900.0,
)
ESCALATE_ALERTS: JobKind[Recurrence] = JobKind(
    name="escalate-alerts",
    parameters=Recurrence,
    run=run_escalate,
    permission=None,
    most_waiting=1,
    keep_s=DAY_S,
    every_s=60.0,
)
RECURRING: tuple[JobKind[Any], ...] = (EXPIRE_DECISIONS, ESCALATE_ALERTS)


class FailedWork(NamedTuple):
    """Work whose last job has failed, and the name of the error."""

    kind: str
    error: str


async def failed_work(conn: AsyncConnection) -> list[FailedWork]:
    """Return the recurring work whose last job failed."""
    rows = await (await conn.execute(NEWEST.encode(), [[kind.name for kind in RECURRING]], prepare=True)).fetchall()
    return [FailedWork(kind, error or "") for kind, state, error in rows if state == JobState.FAILED]
