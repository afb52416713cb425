"""Dispose of clients at the end of retention as a job: docs/use/erasure.md.

It acts in the name of the subject that requested it, by the event, and judges that subject again.
"""

from __future__ import annotations

from typing import Any

from api.jobs.kind import JobFailed, JobKind, JobParameters, JobRun, Result
from ledger.database import AsyncConnection
from ledger.errors import Refused
from ledger.service.disposals import REASON, CatchUp, Disposal, OnProgress, as_moment, nothing
from ledger.service.ledger import Ledger
from projections.erasures.model import ERASURES
from projections.reads import wait_until_caught_up
from schema.events import DisposalCompleted
from schema.states import ErasureState

WAITING = (
    "SELECT id FROM erasures WHERE state = %s AND reason = %s AND expires_at::timestamptz > clock_timestamp()"
    " ORDER BY id"
)
# Counts what this subject has done since a position, including an earlier run that was killed.
DONE = (
    "SELECT count(*), coalesce(sum(values), 0)::bigint FROM erasures WHERE reason = %(reason)s"
    " AND CASE WHEN %(step)s = 'propose' THEN id > %(position)s AND requested_by = %(by)s AND expires_at IS NOT NULL"
    " ELSE answer_position > %(position)s AND answered_by = %(by)s AND state = %(erased)s END"
)


class DisposalParameters(JobParameters):
    """The number of the step. Its stream has the request."""

    disposal: int


async def do_step(ledger: Ledger, number: int, on_progress: OnProgress, catch_up: CatchUp = nothing) -> Disposal:
    """Do a step of a disposal, unless it is done, and record it. Raises Refused if its subject may no longer act."""
    disposals = ledger.disposals
    found = await disposals.get(number)
    if found.completed is not None:
        return found
    actor = await disposals.actor_of(found)
    as_of, step = await disposals.now(), found.requested.data["step"]
    if step == "propose":
        counts = await disposals.propose(actor, on_progress, catch_up)
    else:
        await catch_up()
        counts = await disposals.erase(actor, await _waiting(ledger), on_progress, catch_up)
    await catch_up()
    given = {"reason": REASON, "step": step, "position": found.requested.position, "by": actor.id}
    done, values = await _read(ledger, DONE, {**given, "erased": str(ErasureState.ERASED)})
    event = DisposalCompleted(
        requested=found.requested.position,
        as_of=as_moment(as_of),
        policy=disposals.policy_version,
        looked_at=counts.looked_at,
        done=done,
        values=0 if step == "propose" else values,
        forbidden=counts.forbidden,
        waiting=counts.waiting,
    )
    return await disposals.finish(number, event)


async def run_disposal(run: JobRun[DisposalParameters]) -> Result:
    """Do a step of a disposal."""
    try:
        done = await do_step(run.tools.ledger, run.parameters.disposal, run.progress)
    except Refused as error:
        raise JobFailed(error.code) from error
    assert done.completed is not None, "it is done"
    return {"disposal": run.parameters.disposal, **done.completed.data}


DISPOSE: JobKind[DisposalParameters] = JobKind(
    name="dispose", parameters=DisposalParameters, run=run_disposal, permission="erase clients", lane="long"
)


async def _waiting(ledger: Ledger) -> list[int]:
    async def work(conn: AsyncConnection) -> list[int]:
        await wait_until_caught_up(conn, ERASURES, patience_s=ledger.patience_s)
        cursor = await conn.execute(WAITING.encode(), [str(ErasureState.WAITING), REASON])
        return [erasure for (erasure,) in await cursor.fetchall()]

    return await ledger.readers.run(work)


async def _read(ledger: Ledger, query: str, given: dict[str, Any]) -> tuple[int, int]:
    async def work(conn: AsyncConnection) -> tuple[int, int]:
        await wait_until_caught_up(conn, ERASURES, patience_s=ledger.patience_s)
        [row] = await (await conn.execute(query.encode(), given)).fetchall()
        return int(row[0]), int(row[1])

    return await ledger.readers.run(work)
