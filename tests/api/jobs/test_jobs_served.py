"""Jobs over HTTP, on the command line and in what the server tells of itself."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from api.jobs.kind import JobFailed, JobRun, Result
from api.jobs.queue import JobQueue
from api.jobs.runner import JobRunner
from api.services import services_of
from schema.states import JobState
from tests.api.jobs.running import Counted, kind, queue_of
from tests.api.program import cli
from tests.api.served import Api, problem, served
from tests.faults.test_readiness import gauge, not_ready, ready
from tests.support import connect, eventually


async def _run(run: JobRun[Counted]) -> Result:
    """Fail for odd numbers."""
    if run.parameters.number % 2:
        raise JobFailed("odd")
    run.progress(1, 1)
    return {"half": run.parameters.number // 2}


HALF = kind(_run, name="half", most_waiting=100)
# Nobody runs these.
LEFT = kind(_run, name="left")


@pytest.fixture(scope="module")
def api(module_ledger: str) -> Iterator[Api]:
    """The application, which runs jobs."""
    with served(module_ledger, job_kinds=[HALF]) as found:
        yield found


def asked(api: Api, number: int, by: str = "advisor", of: object = HALF) -> int:
    """Ask for a job."""

    async def ask() -> int:
        async with queue_of(api.url) as queue:
            return await queue.ask(of, Counted(number=number), by, uuid.uuid4())  # type: ignore[arg-type]

    return asyncio.run(ask())


def test_a_job_is_read_by_those_who_may(api: Api) -> None:
    """Its progress and result are for whoever asked and for roles that read all; to another advisor it is unknown."""
    number = asked(api, 4)
    job = eventually("it is done", lambda: _in(api, number, JobState.DONE))
    assert (job["kind"], job["parameters"], job["asked_by"]) == ("half", {"number": 4}, "advisor")
    assert (job["progress"], job["result"], job["error"], job["attempt"]) == (
        {"done": 1, "total": 1},
        {"half": 2},
        None,
        1,
    )
    assert job["created_at"] <= job["started_at"] <= job["ended_at"] < job["expires_at"]
    for role in ("advisor", "compliance", "admin"):
        assert api.get(f"/jobs/{number}", role).json() == job
    other = asked(api, 6, by="somebody")
    problem(api.get(f"/jobs/{other}", "advisor"), 404, "job-unknown")
    problem(api.call("POST", f"/jobs/{other}/cancellation", "advisor", json={}), 404, "job-unknown")
    problem(api.get(f"/jobs/{number}", "agent"), 403, "wrong-role")
    assert other not in [row["id"] for row in api.get("/jobs", "advisor").json()["items"]]


def test_lists_of_jobs(api: Api) -> None:
    """The newest first, by kind and state, in pages."""
    ids = [asked(api, number) for number in (1, 2, 3)]
    eventually("all have ended", lambda: all(_in(api, each, JobState.DONE, JobState.FAILED) for each in ids))
    failed = [row for row in api.items("/jobs", kind="half", state="failed") if row["id"] in ids]
    assert [(row["id"], row["error"]) for row in failed] == [(ids[2], "odd"), (ids[0], "odd")]
    seen, cursor = [], None
    while True:
        found = api.get("/jobs", limit=1, **({} if cursor is None else {"cursor": cursor})).json()
        seen += [row["id"] for row in found["items"]]
        cursor = found["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert set(ids) <= set(seen)
    assert api.items("/jobs", kind="none") == []
    problem(api.get("/jobs", state="lost"), 422, "invalid")


def test_a_job_is_cancelled(api: Api) -> None:
    """By whoever asked, or by an administrator; a job that has ended, or never was, is refused by name."""
    number = asked(api, 1, of=LEFT)
    problem(api.call("POST", f"/jobs/{number}/cancellation", "compliance", json={}), 404, "job-unknown")
    answer = api.call("POST", f"/jobs/{number}/cancellation", "advisor", json={})
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert api.call("POST", f"/jobs/{number}/cancellation", "admin", json={}).status_code == 200
    over = asked(api, 8)
    eventually("it is done", lambda: _in(api, over, JobState.DONE))
    found = problem(api.call("POST", f"/jobs/{over}/cancellation", "admin", json={}), 409, "job-ended")
    assert found["state"] == "done"
    problem(api.call("POST", f"/jobs/{over + 1000}/cancellation", "admin", json={}), 404, "job-unknown")


@pytest.mark.slow
def test_jobs_on_the_command_line(api: Api) -> None:
    """`jobs list`, `show` and `cancel` tell what HTTP tells, and exit with 2 for what cannot be done."""
    number = asked(api, 3, of=LEFT)
    at = ("--database-url", api.url)
    [row] = [row for row in json.loads(cli("jobs", "list", "--kind", "left", "--json", *at).out) if row["id"] == number]
    assert (row["state"], row["parameters"], row["asked_by"]) == ("queued", {"number": 3}, "advisor")
    assert f"{number}  " in cli("jobs", "list", "--state", "queued", *at).out
    assert "number" in cli("jobs", "show", number, *at).out
    assert "cancelled" in cli("jobs", "cancel", number, *at).out
    assert json.loads(cli("jobs", "show", number, "--json", *at).out)["state"] == "cancelled"
    over = asked(api, 8)
    eventually("it is done", lambda: _in(api, over, JobState.DONE))
    ran = cli("jobs", "cancel", over, *at)
    assert (ran.code, ran.err) == (2, f"error: the job {over} has ended: it is done\n")
    assert cli("jobs", "show", over + 1000, *at).code == 2


def test_metrics_count_jobs(api: Api) -> None:
    """Those that wait, run and have failed, by kind, and how long the first has waited."""
    asked(api, 2, of=LEFT)
    failed = asked(api, 1)
    eventually("it has failed", lambda: _in(api, failed, JobState.FAILED))
    with connect(api.url) as conn:
        conn.execute("UPDATE jobs SET not_before = now() - interval '1 hour' WHERE kind = 'left' AND state = 'queued'")
        counts = dict(conn.execute("SELECT kind, count(*) FROM jobs WHERE state = 'failed' GROUP BY kind").fetchall())
    text = api.get("/metrics", None).text
    assert f'advice_ledger_jobs_failed{{kind="half"}} {counts["half"]:.1f}' in text
    assert 'advice_ledger_jobs_queued{kind="left"} 1.0' in text
    name = 'advice_ledger_jobs_queued_oldest_seconds{kind="left"} '
    [oldest] = [line.removeprefix(name) for line in text.splitlines() if line.startswith(name)]
    assert float(oldest) >= 3600


def test_a_runner_that_fails_each_time(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not ready, with the cause, which is logged once; ready again as soon as a round succeeds."""

    async def fails(*_: object) -> None:
        raise ValueError("client-1 is secret")

    with monkeypatch.context() as patch:
        patch.setattr(JobQueue, "claim", fails)
        not_ready(api, "the jobs of this process do not run: program error: ValueError in fails")
        assert gauge(api, "jobs_failing") == 1
    ready(api)
    assert gauge(api, "jobs_failing") == 0
    assert caplog.text.count("jobs: program error: ValueError in fails") == 1
    assert "secret" not in caplog.text


def test_a_runner_that_ended(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its task was cancelled by nobody that stops the server: not ready, until a restart."""
    with served(database_url, job_kinds=[HALF]) as api:
        ready(api)

        async def ends(_: JobRunner) -> None:
            raise asyncio.CancelledError

        monkeypatch.setattr(JobRunner, "_round", ends)
        assert services_of(api.app).job_runner is not None
        not_ready(api, "the jobs of this process have ended: restart the server (it was cancelled)")


def _in(api: Api, number: int, *states: JobState) -> dict[str, Any] | None:
    job: dict[str, Any] = api.get(f"/jobs/{number}").json()
    return job if job["state"] in states else None
