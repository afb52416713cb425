"""Work that recurs: of several processes one does it, once in an interval of the database's clock."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from dataclasses import replace

import pytest

from api.jobs import runner as runner_module
from api.jobs.kind import JobKind, JobRun, Recurrence, Result
from api.jobs.recurring import EXPIRE_DECISIONS, FailedWork, failed_work
from schema.states import JobState
from tests.api.jobs.running import ended, queue_of, runner, until
from tests.ledger.service.test_clients import opened
from tests.ledger.service.test_expiry import AGED, answered, decide, expiries
from tests.projections.scenes import catch_up
from tests.support import connect
from tests.tampering import tamper

# One interval lasts longer than any test.
CENTURY_S = 3.2e9


def test_of_several_processes_one_does_it(database_url: str) -> None:
    """Three runners, one job in the interval; in the next interval there is another one."""
    runs: Counter[int] = Counter()
    lock = threading.Lock()

    async def count(run: JobRun[Recurrence]) -> Result:
        with lock:
            runs[run.parameters.interval] += 1
        return {}

    def work(every_s: float) -> JobKind[Recurrence]:
        return JobKind("count", Recurrence, count, permission=None, most_waiting=1, every_s=every_s)

    async def during(every_s: float, intervals: int) -> None:
        async with queue_of(database_url) as queue:
            kinds = [work(every_s) for _ in range(3)]
            async with (
                runner(database_url, queue, kinds[0]),
                runner(database_url, queue, kinds[1]),
                runner(database_url, queue, kinds[2]),
            ):
                await until(queue, lambda jobs: sum(job.state == JobState.DONE for job in jobs) >= intervals)
                await ended(queue)

    asyncio.run(during(CENTURY_S, 1))
    asyncio.run(during(CENTURY_S, 1))
    assert list(runs.values()) == [1]
    asyncio.run(during(0.05, 4))
    assert set(runs.values()) == {1}


@pytest.mark.tampers
def test_decisions_expire_by_themselves(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes, one effect. Work that fails is named until it succeeds again."""
    monkeypatch.setattr(runner_module, "PAUSE_S", 0.01)

    async def make() -> list[int]:
        async with opened(database_url) as [ledger]:
            return [(await decide(ledger, at))[0] for at in answered(database_url, 2)]

    made = asyncio.run(make())
    tamper(database_url, AGED.format("-", 1))
    with connect(database_url) as conn:
        catch_up(conn)

    async def fail(_run: JobRun[Recurrence]) -> Result:
        raise ZeroDivisionError

    async def during(kind: JobKind[Recurrence], jobs_in_all: int) -> list[FailedWork]:
        async with queue_of(database_url) as queue:
            async with runner(database_url, queue, kind), runner(database_url, queue, kind):
                await until(queue, lambda jobs: len(jobs) == jobs_in_all)
                await ended(queue)
            return await queue.readers.run_short(failed_work)

    broken = replace(EXPIRE_DECISIONS, run=fail, every_s=CENTURY_S, attempts=2)
    assert asyncio.run(during(broken, 1)) == [FailedWork("expire-decisions", "internal")]
    assert expiries(database_url) == []
    # Another interval, so that it is asked for again.
    assert asyncio.run(during(replace(EXPIRE_DECISIONS, every_s=CENTURY_S / 4), 2)) == []
    assert expiries(database_url) == made
