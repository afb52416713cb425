"""Delete the files of exports of erased clients, as a job."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid5

from api.jobs.exports import ExportParameters, exports_with_files, remove_files
from api.jobs.kind import JobKind, JobRun, JobTools, Result
from ledger.database import AsyncConnection

KEYS = UUID("0f6f6b5e-4f0d-4c0e-8a63-54f7a1b0c9d2")
# An export of a client, or of one of its requests, belongs to the client's streams.
ERASED = "SELECT stream, position FROM events WHERE stream = ANY (%s) AND type = 'values.erased'"


async def due(tools: JobTools) -> Sequence[tuple[UUID, ExportParameters]]:
    """Return a job for each export that has files on this machine and whose client was erased."""
    numbers = [] if tools.files is None else exports_with_files(tools.files)
    if not numbers:
        return []
    streams = {f"export-{number}": number for number in numbers}

    async def work(conn: AsyncConnection) -> list[tuple[str, int]]:
        return await (await conn.execute(ERASED.encode(), [list(streams)], prepare=True)).fetchall()

    return [
        (uuid5(KEYS, f"{stream}\n{position}"), ExportParameters(export=streams[stream]))
        for stream, position in await tools.ledger.readers.run_short(work)
    ]


async def run_delete(run: JobRun[ExportParameters]) -> Result:
    """Delete the files of an export, if they still exist."""
    assert run.tools.files is not None, "this process can run it"
    return {"export": run.parameters.export, "files": remove_files(run.tools.files, run.parameters.export)}


DELETE_EXPORT_FILES: JobKind[ExportParameters] = JobKind(
    name="delete-export-files",
    parameters=ExportParameters,
    run=run_delete,
    permission=None,
    most_waiting=1000,
    can_run=lambda tools: tools.files is not None,
    due=due,
)
