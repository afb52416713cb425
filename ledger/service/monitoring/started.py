"""Runs of monitoring that are on record: the newest, the one before, and their events."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from ledger.database import AsyncConnection
from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.domain.monitoring.run import Run
from ledger.errors import NotFound, StreamUnreadable
from ledger.service.monitoring.streams import HERE
from ledger.store.readers import Readers
from schema.events import MonitoringRunCompleted, MonitoringRunStarted

CATEGORY = "monitoring-"
# After every position.
NEVER = 2**62
LAST_RUNS = (HERE / "last_runs.sql").read_text("utf-8")


@dataclass(frozen=True)
class StartedRun:
    """A run that was started, and the event that did."""

    number: int
    event: RecordedEvent
    run: Run


@dataclass(frozen=True)
class StartedRuns:
    """Finds runs. What no client can have started is passed over, so that it does not end all later ones."""

    readers: Readers

    async def versions(self) -> dict[str, int]:
        """Return the versions of the newest stream of a run, whatever is in it, and of the next one, which is 0."""
        row = await self.readers.fetch_one(LAST_RUNS, [NEVER])
        last = 0 if row is None else int(str(row[1]).removeprefix(CATEGORY))
        while await self.history(last + 1):
            last += 1
        next_one = {f"{CATEGORY}{last + 1}": 0}
        return {**next_one, f"{CATEGORY}{last}": len(await self.history(last))} if last else next_one

    async def before(self, position: int, until: datetime | None = None) -> StartedRun | None:
        """Return the newest run before a position, as of a time up to `until`.

        One that no client can have started is passed over.
        """
        while True:
            rows = await self.readers.run(partial(_last_runs, position=position))
            for at, stream in rows:
                position, number = at, int(stream.removeprefix(CATEGORY))
                event = (await self.history(number))[0]
                with contextlib.suppress(*MALFORMED):
                    run = run_of(number, event)
                    if until is None or run.as_of <= until:
                        return StartedRun(number, event, run)
            if not rows:
                return None

    async def history(self, number: int) -> list[RecordedEvent]:
        """Return the events of a run; none if there is no such run."""
        [events] = await self.readers.streams(f"{CATEGORY}{number}")
        return events

    async def events(self, number: int) -> list[RecordedEvent]:
        """Return the events of a run. Raises NotFound `run-unknown`, StreamUnreadable."""
        events = await self.history(number)
        if not events:
            raise NotFound("run-unknown", "there is no such run")
        try:
            run_of(number, events[0])
            for event in events[1:2]:
                MonitoringRunCompleted.model_validate(event.data)
        except MALFORMED as error:
            raise StreamUnreadable.at(f"{CATEGORY}{number}", events[0].position) from error
        return events


def run_of(number: int, started: RecordedEvent, before: RecordedEvent | None = None) -> Run:
    """Return the run that an event started. Raises one of MALFORMED if no client can have sent it."""
    data = MonitoringRunStarted.model_validate(started.data).model_dump()
    if data["position"] >= started.position:
        raise ValueError("position is not before the event")
    earlier = None if before is None else before.data["as_of"]
    after = 0 if before is None else before.data["position"]
    return Run.of(number, data["as_of"], data["position"], historical=data["historical"], before=earlier, after=after)


async def _last_runs(conn: AsyncConnection, position: int) -> list[tuple[int, str]]:
    return await (await conn.execute(LAST_RUNS, [position], prepare=True)).fetchall()
