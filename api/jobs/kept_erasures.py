"""Keep the list of erasures outside the database, as a job: docs/use/erasure.md."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID, uuid5

from api.erasure_certificate import NotCovered, certificate_of, first_events_of, stored_inclusion
from api.jobs.kind import DAY_S, JobFailed, JobKind, JobParameters, JobRun, JobTools, Result, TryLater
from ledger.database import AsyncConnection
from ledger.erasure.kept import BadList, append_entry, appending
from ledger.service.ledger import Ledger

KEYS = UUID("b4c54d2c-5a0c-4f57-9a2b-7f1f6f0f7d10")
# The newest event that erases; and all such events with their erasures.
NEWEST = (
    "SELECT position, encode(hash, 'hex') FROM events WHERE type IN ('client.erased', 'values.erased')"
    " ORDER BY position DESC LIMIT 1"
)
ALL = (
    "SELECT encode(hash, 'hex'), whole_number(body::jsonb->'data'->>'erasure_id') FROM events"
    " WHERE type IN ('client.erased', 'values.erased') AND type = 'client.erased' ORDER BY position"
)
LATER_S = 2.0


class KeepParameters(JobParameters):
    """The position of the newest event that erases."""

    upto: int


async def keep(ledger: Ledger, path: Path) -> int:
    """Add the erasures that the list lacks; return their number. Raises BadList, OSError, NotCovered, TileError."""
    inclusion = stored_inclusion(ledger)

    async def work(conn: AsyncConnection) -> list[tuple[str, int]]:
        return await (await conn.execute(ALL.encode())).fetchall()

    done = await ledger.readers.run_short(work)
    async with AsyncExitStack() as stack:
        # The lock of the file may be held by another process.
        known, file = await asyncio.to_thread(stack.enter_context, appending(path))
        added = [erasure for hash_, erasure in done if hash_ not in known]
        for erasure in added:
            certificate = await certificate_of(ledger, erasure, inclusion)
            first = await first_events_of(ledger, certificate, inclusion)
            append_entry(file, certificate.model_dump(), [one.model_dump() for one in first])
    return len(added)


async def run_keep(run: JobRun[KeepParameters]) -> Result:
    """Add the missing erasures to the list."""
    path = run.tools.erasures_file
    if path is None:
        raise JobFailed("no-file")
    try:
        return {"added": await keep(run.tools.ledger, path)}
    except NotCovered:
        raise TryLater("not-covered", LATER_S) from None
    except BadList:
        raise JobFailed("bad-list") from None


async def due(tools: JobTools) -> Sequence[tuple[UUID, KeepParameters]]:
    """Return one job for the newest erasure."""
    row = None if tools.erasures_file is None else await tools.ledger.readers.fetch_one(NEWEST, [])
    return [] if row is None else [(uuid5(KEYS, f"{row[0]}\n{row[1]}"), KeepParameters(upto=row[0]))]


KEEP_ERASURES: JobKind[KeepParameters] = JobKind(
    name="keep-erasures",
    parameters=KeepParameters,
    run=run_keep,
    permission=None,
    most_waiting=1000,
    keep_s=DAY_S,
    can_run=lambda tools: tools.erasures_file is not None,
    due=due,
)
