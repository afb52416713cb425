"""A process that makes exports and kills itself at a step."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any
from unittest.mock import patch

from api.jobs import exports
from api.jobs.exports import EXPORT, ExportParameters
from api.jobs.kind import JobFiles, JobTools
from api.jobs.runner import JobRunner
from ledger.database import conninfo
from ledger.export.bundle import write_bundle
from ledger.service.exports import ExportCommands
from schema.events import ExportRequest
from schema.states import JobState
from tests.api.jobs.running import SHORT_LEASE_S, die, ended, queue_of
from tests.faults.workers import opened
from tests.support import CLERK

EXPORT_STEPS = ("before the file", "in the file", "after the file", "before it is recorded", "after it is recorded")


async def ask_export(url: str) -> int:
    """Record a request for positions 1 to 1, and ask for its job."""
    async with opened(url) as ledger, queue_of(url) as queue:
        wanted = ExportRequest(position_from=1, purpose="test", recipient="nobody")
        await ledger.exports.request(CLERK, wanted)
        receipt = await ledger.exports.request(CLERK, wanted)
        number = int(receipt.stream.removeprefix("export-"))
        await queue.ask(EXPORT, ExportParameters(export=number), CLERK.id, uuid.uuid4())
        return number


async def make_exports(url: str, step: str, folder: Path) -> None:
    """Make the export, or die at a step."""
    write, finish, replace = write_bundle, ExportCommands.finish, Path.replace

    def at(reached: str) -> None:
        if step == reached:
            die()

    def writes(conn: Any, selection: Any, disclosure: Any, file: Any, **options: Any) -> Any:
        at("before the file")
        if step == "in the file":
            file.write(b"half")
            file.flush()
            die()
        return write(conn, selection, disclosure, file, **options)

    def replaces(path: Path, target: Path) -> Path:
        at("after the file")
        return replace(path, target)

    async def finishes(commands: ExportCommands, number: int, event: Any) -> Any:
        at("before it is recorded")
        found = await finish(commands, number, event)
        at("after it is recorded")
        return found

    with (
        patch.object(exports, "write_bundle", writes),
        patch.object(ExportCommands, "finish", finishes),
        patch.object(Path, "replace", replaces),
    ):
        async with opened(url) as ledger, queue_of(url) as queue:
            tools = JobTools(ledger, lambda role, _: conninfo(url, role), files=JobFiles(folder))
            runner = JobRunner(queue, [EXPORT], tools, lease_s=SHORT_LEASE_S, idle_s=0.02)
            runner.start()
            [job] = await ended(queue)
            assert job.state == JobState.DONE
            await runner.stop()
