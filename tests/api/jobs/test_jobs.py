"""Jobs: each is run by one worker at a time until it has ended, whatever dies, fails or stops meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.jobs import runner as runner_module
from api.jobs.kind import JobFailed, JobRun, JobStopped, Result, TryLater
from api.jobs.kinds import KINDS
from ledger.database import conninfo
from ledger.domain.access_policy import PERMISSIONS
from ledger.errors import IdConflict, NotFound, Refused
from schema.database_roles import ROLES
from schema.states import JobState
from tests.api.jobs.running import STEPS, Counted, ask, do_jobs, ended, in_process, kind, queue_of, runner, twice, until
from tests.api.served import ledger_copy
from tests.conftest import Template
from tests.support import connect


@pytest.fixture(scope="module")
def ledger(server_url: str, template_database: Template) -> Iterator[str]:
    """A ledger whose jobs are deleted after each test."""
    with ledger_copy(server_url, template_database) as url:
        yield url


@pytest.fixture
def url(ledger: str) -> Iterator[str]:
    """The ledger without jobs."""
    yield ledger
    with connect(ledger) as conn:
        conn.execute("DELETE FROM jobs")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "PAUSE_S", 0.01)


def test_each_kind_has_a_permission_and_a_role_that_exist() -> None:
    """Names are those of the access policy and of the database, and no two kinds share a name. None is the owner's."""
    assert {kind.permission for kind in KINDS} <= PERMISSIONS | {None}
    assert {kind.role for kind in KINDS} <= set(ROLES)
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def test_several_runners_run_each_job_once(url: str) -> None:
    """Three runners on one table: each job runs once, and its progress and result are in its row."""
    runs: Counter[int] = Counter()

    async def counted(run: JobRun[Counted]) -> Result:
        runs[run.parameters.number] += 1
        return await twice(run)

    async def work() -> None:
        async with contextlib.AsyncExitStack() as stack:
            queue = await stack.enter_async_context(queue_of(url))
            asked = kind(counted, most_waiting=100)
            ids = [await ask(queue, asked, number) for number in range(30)]
            for _ in range(3):
                await stack.enter_async_context(runner(url, queue, asked))
            jobs = await ended(queue)
            assert [(job.id, job.state, job.done, job.total, job.result) for job in jobs] == [
                (ids[number], JobState.DONE, 2, 2, {"twice": number * 2}) for number in range(30)
            ]
            assert {(job.attempt, job.error, job.asked_by) for job in jobs} == {(1, None, "clerk")}

    asyncio.run(work())
    assert set(runs.values()) == {1}
    assert len(runs) == 30


@pytest.mark.parametrize(
    "step", [pytest.param(step, marks=() if step == "after the effect" else pytest.mark.slow) for step in STEPS]
)
def test_a_job_killed_at_any_step_is_finished(url: str, tmp_path: Path, step: str) -> None:
    """Its process dies by SIGKILL at the step; the next one finishes the job, makes its effect once, and forgets it."""

    async def asked() -> None:
        async with queue_of(url) as queue:
            await ask(queue, kind(twice))

    asyncio.run(asked())
    assert in_process(do_jobs, url, step, tmp_path) == -signal.SIGKILL
    assert in_process(do_jobs, url, "none", tmp_path) == 0
    assert (tmp_path / "effects").read_text() == "x"
    assert {path.suffix for path in tmp_path.iterdir()} <= {"", ".part"}
    assert [path.name for path in tmp_path.iterdir() if not path.suffix] == ["effects"]


def test_a_job_whose_process_dies_each_time_has_failed(url: str) -> None:
    """After as many claims as its kind has attempts it is not run again."""

    async def work() -> None:
        async with queue_of(url) as queue:
            asked = kind(twice, attempts=3)
            await ask(queue, asked)
            for _ in range(3):
                assert await queue.claim("dying", [asked.name], 0.0)
            async with runner(url, queue, asked):
                [job] = await ended(queue)
            assert (job.state, job.error, job.attempt) == (JobState.FAILED, "gave-up", 4)

    asyncio.run(work())


def test_failures_are_tried_again_or_final(url: str) -> None:
    """Unknown errors are tried again until the attempts are over; a named one is final; a pause costs no attempt."""
    runs: Counter[str] = Counter()

    def fails(name: str, times: int, error: Exception) -> object:
        async def run(run: JobRun[Counted]) -> Result:
            runs[name] += 1
            if runs[name] <= times:
                raise error
            return {}

        return kind(run, name=name, attempts=3)

    expected = {
        "twice": (ValueError("client-1 is secret"), 2, JobState.DONE, None, 3),
        "thrice": (ValueError("client-1 is secret"), 3, JobState.FAILED, "internal", 3),
        "refused": (Refused("not-now", "it may not"), 3, JobState.FAILED, "not-now", 3),
        "named": (JobFailed("too-large"), 1, JobState.FAILED, "too-large", 1),
        "later": (TryLater("away", 0.01), 6, JobState.DONE, None, 1),
    }
    kinds = {name: fails(name, times, error) for name, (error, times, *_) in expected.items()}

    async def work() -> None:
        async with queue_of(url) as queue:
            for each in kinds.values():
                await ask(queue, each)  # type: ignore[arg-type]
            async with runner(url, queue, *kinds.values()):  # type: ignore[arg-type]
                jobs = await ended(queue)
        found = {job.kind: (job.state, job.error, job.attempt) for job in jobs}
        assert found == {name: tuple(rest) for name, (_, _, *rest) in expected.items()}

    asyncio.run(work())
    assert runs == {"twice": 3, "thrice": 3, "refused": 3, "named": 1, "later": 7}


def test_a_key_asks_once(url: str) -> None:
    """The same job again is the first one; another job under the key is refused; so is one job more than may wait."""

    async def work() -> None:
        async with queue_of(url) as queue:
            asked, key = kind(twice, most_waiting=2), uuid.uuid4()
            first = await queue.ask(asked, Counted(number=1), "clerk", key)
            assert await queue.ask(asked, Counted(number=1), "clerk", key) == first
            for number, by in ((2, "clerk"), (1, "other")):
                with pytest.raises(IdConflict):
                    await queue.ask(asked, Counted(number=number), by, key)
            await ask(queue, asked)
            with pytest.raises(Refused, match="2 jobs of this kind wait already"):
                await ask(queue, asked)
            assert await queue.ask(asked, Counted(number=1), "clerk", key) == first
            await ask(queue, asked, by="other")
            assert len(await queue.read(10)) == 3

    asyncio.run(work())


def test_only_who_has_the_claim_can_end_a_job(url: str) -> None:
    """A lease that ended, or was made before the clock went back, goes to the next worker; the first one has no say."""

    async def work() -> None:
        async with queue_of(url) as queue:
            asked = kind(twice)
            number = await ask(queue, asked)
            first = await queue.claim("one", [asked.name], 30)
            assert first is not None
            assert await queue.claim("two", [asked.name], 30) is None
            with connect(url) as conn:
                conn.execute(
                    "UPDATE jobs SET renewed_at = clock_timestamp() + interval '1 day', lease_until = 'infinity'"
                )
            second = await queue.claim("two", [asked.name], 30)
            assert second is not None
            assert second.attempt == 2
            for stale, worker in ((first, "one"), (first, "two"), (second, "one")):
                assert not await queue.hold(stale, worker, 30, 1, 1)
                assert not await queue.put_back(stale, worker, 0)
                assert not await queue.done(stale, worker, 30, {"stale": True}, 1)
            assert await queue.hold(second, "two", 30, 1, 1)
            assert await queue.done(second, "two", 30, {}, 1)
            assert (await queue.get(number)).result == {}
            assert await queue.cancel(number) == JobState.DONE
            with pytest.raises(NotFound):
                await queue.cancel(number + 1)

    asyncio.run(work())


def test_a_stop_puts_jobs_back_at_once(url: str) -> None:
    """The thread of the job notices, the claim does not count, and another runner finishes it without a wait."""
    begun, stopped, again = threading.Event(), threading.Event(), threading.Event()

    def works(run: JobRun[Counted]) -> Result:
        begun.set()
        try:
            while not again.is_set():
                run.progress(1, 10)
        except JobStopped:
            stopped.set()
            raise
        return {"again": True}

    async def run(run: JobRun[Counted]) -> Result:
        return await run.in_thread(lambda: works(run))

    async def work() -> None:
        async with queue_of(url) as queue:
            asked = kind(run, lane="long")
            await ask(queue, asked)
            async with runner(url, queue, asked):
                await asyncio.to_thread(begun.wait, 10)
            assert stopped.is_set()
            [job] = await queue.read(1)
            assert (job.state, job.attempt) == (JobState.QUEUED, 0)
            again.set()
            async with runner(url, queue, asked):
                [job] = await ended(queue)
            assert (job.state, job.attempt, job.result) == (JobState.DONE, 1, {"again": True})

    asyncio.run(work())


def test_a_running_job_is_cancelled(url: str) -> None:
    """The run is stopped when its lease is renewed the next time; what it would have answered is nobody's."""
    begun, cut = asyncio.Event(), asyncio.Event()

    async def run(run: JobRun[Counted]) -> Result:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()
        return {}

    async def work() -> None:
        async with queue_of(url) as queue:
            asked = kind(run)
            number = await ask(queue, asked)
            async with runner(url, queue, asked, lease_s=0.3):
                async with asyncio.timeout(10):
                    await begun.wait()
                    assert await queue.cancel(number) == JobState.CANCELLED
                    await cut.wait()
            [job] = await queue.read(1)
            assert (job.state, job.result) == (JobState.CANCELLED, None)

    asyncio.run(work())


def test_a_runner_may_claim_its_own_job_again(url: str) -> None:
    """It was too slow to renew the lease: the new run ends the job, and other jobs go on."""
    begun = asyncio.Event()

    async def run(run: JobRun[Counted]) -> Result:
        if not begun.is_set():
            begun.set()
            await asyncio.Event().wait()
        return {"attempt": run.attempt}

    async def work() -> None:
        async with queue_of(url) as queue:
            asked = kind(run)
            await ask(queue, asked)
            async with runner(url, queue, asked, lease_s=30):
                async with asyncio.timeout(20):
                    await begun.wait()
                    with connect(url) as conn:
                        conn.execute("UPDATE jobs SET lease_until = clock_timestamp() - interval '1 second'")
                    await until(queue, lambda jobs: jobs[0].state == JobState.DONE)
                await ask(queue, asked)
                jobs = await until(queue, lambda jobs: len(jobs) == 2 and jobs[1].state == JobState.DONE)
            assert [job.result for job in jobs] == [{"attempt": 2}, {"attempt": 1}]

    asyncio.run(work())


def test_a_lease_is_renewed_while_the_job_runs(url: str) -> None:
    """A job that takes many leases is run once, with its progress shown; short ones do not wait for the long one."""
    over = asyncio.Event()
    lease_s = 1.0  # a busy machine renews in time

    async def long(run: JobRun[Counted]) -> Result:
        run.progress(3, 7)
        await over.wait()
        return {}

    async def work() -> None:
        began = asyncio.get_running_loop().time()
        async with queue_of(url) as queue:
            slow, quick = kind(long, name="slow", lane="long"), kind(twice, name="quick")
            await ask(queue, slow)
            await ask(queue, slow)
            async with runner(url, queue, slow, quick, lease_s=lease_s), runner(url, queue, slow, lease_s=lease_s):
                await until(queue, lambda jobs: [(job.state, job.done) for job in jobs] == [(JobState.RUNNING, 3)] * 2)
                while asyncio.get_running_loop().time() < began + 3 * lease_s:
                    await ask(queue, quick)
                    await until(queue, lambda jobs: jobs[-1].state == JobState.DONE)
                over.set()
                jobs = await ended(queue)
            assert {(job.state, job.attempt) for job in jobs} == {(JobState.DONE, 1)}

    asyncio.run(work())


def test_parameters_that_no_version_reads(url: str) -> None:
    """Such a job has failed, and holds up no other."""

    async def work() -> None:
        async with queue_of(url) as queue:
            asked = kind(twice)
            first = await ask(queue, asked)
            with connect(url) as conn:
                conn.execute("UPDATE jobs SET parameters = '{}' WHERE id = %s", [first])
            await ask(queue, asked)
            async with runner(url, queue, asked):
                jobs = await ended(queue)
            assert [(job.state, job.error) for job in jobs] == [
                (JobState.FAILED, "bad-parameters"),
                (JobState.DONE, None),
            ]

    asyncio.run(work())


def test_a_job_connects_in_the_role_of_its_kind(url: str) -> None:
    """The rights of a job are those of the role, and statements may take long."""

    async def run(run: JobRun[Counted]) -> Result:
        def asked() -> Result:
            from ledger.database import connect as connect_to

            with connect_to(run.conninfo) as conn:
                return {"role": conn.execute("SELECT current_user").fetchall()[0][0]}

        return await run.in_thread(asked)

    async def work() -> None:
        async with queue_of(url) as queue:
            asked = kind(run, role="verifier")
            await ask(queue, asked)
            async with runner(url, queue, asked):
                [job] = await ended(queue)
            assert job.result == {"role": "ledger_verifier"}

    asyncio.run(work())
    assert conninfo(url, "verifier")
