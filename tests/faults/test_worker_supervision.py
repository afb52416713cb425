"""A worker that fails again and again, or whose task ends: `/readyz`, the log and a gauge say so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from api.agents.run.worker import Worker
from ledger.database import AsyncConnection
from tests.api.served import Api, served
from tests.faults.test_readiness import gauge, not_ready, ready
from tests.support import eventually


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    """The application with its worker."""
    with served(database_url, run_worker=True) as found:
        ready(found)
        yield found


class Rounds:
    """Rounds of the worker that all raise this error."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.count = 0

    async def work(self, conn: AsyncConnection) -> None:  # noqa: ARG002 - as the worker calls it
        """Raise the error."""
        self.count += 1
        raise self.error


def fail(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Rounds:
    """Let each round raise this error from now on."""
    rounds = Rounds(error)
    monkeypatch.setattr(Worker, "_work", lambda _, conn: rounds.work(conn))
    return rounds


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ValueError("client-1 is secret"), "program error: ValueError in work"),
        (psycopg.OperationalError("it is away"), "the database failed: it is away"),
    ],
)
def test_a_worker_that_fails_each_time(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, cause: str
) -> None:
    """Not ready, with the true cause, which is logged once; it works again as soon as a round succeeds."""
    with monkeypatch.context() as patch:
        rounds = fail(patch, error)
        not_ready(api, "the worker of this process answers no requests", cause)
        eventually("more rounds", lambda: rounds.count >= 3)
        assert gauge(api, "worker_failing") == 1
    assert caplog.text.count(f"worker: {cause}") == 1
    assert "secret" not in caplog.text + api.get("/readyz", None).text
    ready(api)
    assert gauge(api, "worker_failing") == 0
    number = api.asked()
    eventually("an answer", lambda: api.get(f"/portfolio/requests/{number}").json()["status"] == "recommended")


def test_a_worker_that_ended(api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Its task was cancelled by nobody that stops the server: not ready, until a restart."""
    fail(monkeypatch, asyncio.CancelledError())
    not_ready(api, "the worker of this process has ended: restart the server (it was cancelled)")
    assert gauge(api, "worker_failing") == 1
    assert caplog.text.count("the worker of this process has ended: restart the server (it was cancelled)") == 1
    assert api.ask().status_code == 202


def test_a_worker_that_is_stopped(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The end of the server is no end of the worker by itself."""
    with served(database_url, run_worker=True) as api:
        ready(api)
    assert "has ended" not in caplog.text
