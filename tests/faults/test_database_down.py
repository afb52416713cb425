"""The database goes away under the application, or hangs: a clear 503 in bounded time, and recovery by itself."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from functools import partial
from time import monotonic, time

import httpx
import psutil
import pytest

from api.agents.protocol import AgentAnswer, AgentRequest
from api.callers import CACHE_S
from api.postgres.embedded import EmbeddedPostgres
from api.services import services_of
from tests.api.served import Api, check_ledger, make_tokens, problem, served
from tests.faults.callers import Callers
from tests.faults.workers import Does, fine, working
from tests.support import connect, eventually

PATIENCE_S = 0.7
# A request that takes longer fails the test. Callers are told after PATIENCE_S, twice that where they read as well; the
# rest is for a busy machine.
TOO_LATE_S = 8.0
# Streams of events about callers, and about who looked.
CALLERS = ("subject-", "access-")
WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
ACTIVE = """
    SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()
      AND application_name = 'advice-ledger writer'
"""


@pytest.fixture
def api(ledger: str) -> Iterator[Api]:
    """The application on it, with little patience."""
    with served(ledger, patience_s=PATIENCE_S) as found:
        found.client.timeout = httpx.Timeout(TOO_LATE_S)
        yield found
        check_ledger(ledger)


def postmaster(server: EmbeddedPostgres) -> psutil.Process:
    """Return the server's first process."""
    return psutil.Process(int((server.data_dir / "postgres" / "postmaster.pid").read_text().split()[0]))


def stop(server: EmbeddedPostgres) -> None:
    """Stop the server as an administrator does: it ends its connections."""
    process = postmaster(server)
    process.send_signal(signal.SIGINT)
    process.wait(30)


def unavailable(response: httpx.Response) -> None:
    """Assert a 503 with a Retry-After."""
    problem(response, 503, "unavailable")
    assert int(response.headers["retry-after"]) >= 1


@pytest.mark.slow
def test_the_database_is_stopped_and_started(server: EmbeddedPostgres, api: Api) -> None:
    """While it is down, writes and reads are 503 in bounded time, and /readyz says why; after, all goes on."""
    first = api.asked()
    stop(server)
    calls = [partial(api.ask, key="down"), partial(api.answer, first), partial(api.get, "/portfolio/requests")]
    for call in calls:
        unavailable(call())
    ready = api.get("/readyz", None)
    assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
    assert ready.json()["reasons"]
    assert api.get("/healthz", None).status_code == 200
    assert api.get("/metrics", None).status_code == 200

    server.ensure_running()
    assert eventually("a write", lambda: (found := api.ask(key="down")).status_code == 202 and found).json() == {
        "request_id": first + 1,
        "status": "queued",
    }
    assert eventually("a read", lambda: api.get(f"/portfolio/requests/{first + 1}").status_code == 200)
    eventually("readiness", lambda: api.get("/readyz", None).status_code == 200)
    assert api.answer(first).status_code == 201
    recorded = [row.type for row in check_ledger(api.url) if not row.stream.startswith(CALLERS)]
    assert recorded == ["client.registered", "portfolio.requested", "portfolio.requested", "recommendation.recorded"]


@pytest.mark.slow
def test_a_restart_under_load_loses_nothing(server: EmbeddedPostgres, api: Api) -> None:
    """Restarts under load: every answer is a 202 or a 503, and with its key each command is in exactly once."""
    callers = Callers(api.base, api.tokens["advisor"])
    with callers.calling():
        for _ in range(2):
            callers.go_on()
            stop(server)
            callers.are_refused()
            server.ensure_running()
        callers.go_on()
    assert callers.statuses <= {202, 503}
    assert callers.broken == 0
    eventually("the read models", lambda: api.get("/portfolio/requests").status_code == 200)
    callers.check(api.url)


@pytest.mark.slow
def test_an_application_serves_once_its_database_is_up(server: EmbeddedPostgres, ledger: str) -> None:
    """Started while the database is down, the application comes up, says so, and serves when the database is there."""
    tokens = make_tokens(ledger)
    stop(server)
    with served(ledger, tokens=tokens, patience_s=PATIENCE_S, run_worker=True) as api:
        assert api.get("/healthz", None).status_code == 200
        assert api.get("/readyz", None).status_code == 503
        for _ in range(3):  # each takes PATIENCE_S: longer than any attempt to connect lasts
            unavailable(api.ask())
        server.ensure_running()
        request_id = eventually(
            "a write", lambda: (found := api.ask()).status_code == 202 and found.json()["request_id"]
        )
        row = eventually(
            "the worker",
            lambda: (row := api.get(f"/portfolio/requests/{request_id}").json())["status"] == "recommended" and row,
        )
        done = [one for one in check_ledger(ledger) if one.stream == f"request-{request_id}"]
        assert [one.type for one in done] == [
            "portfolio.requested",
            "model-call.started",
            "model-call.completed",
            "recommendation.recorded",
        ]
        assert row["recommendation_id"] == done[-1].position
        eventually("readiness", lambda: api.get("/readyz", None).status_code == 200)


@contextlib.contextmanager
def locked_head(url: str) -> Iterator[int]:
    """Hold the row that every append locks, in another session; yield its process id."""
    with connect(url, application="a forgotten psql") as conn, conn.transaction():
        conn.execute("SELECT FROM head FOR UPDATE")
        yield conn.info.backend_pid


def test_a_slow_database_is_a_503_in_bounded_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Appends that cannot get through are a 503 in bounded time, surely not recorded.

    Reads that are on record go on meanwhile; a read that cannot be recorded is such an append.
    """
    now_s = time()
    monkeypatch.setattr(services_of(api.app).ledger.accesses, "clock", lambda: now_s)  # all in one minute
    request_id = api.asked()
    other_id = api.asked()
    assert api.get(f"/portfolio/requests/{request_id}").status_code == 200
    with api.records_nothing(), connect(api.url) as watching:
        with locked_head(api.url):
            began = monotonic()
            threads = [threading.Thread(target=lambda: unavailable(api.ask(key="slow"))) for _ in range(5)]
            for thread in threads:
                thread.start()
                eventually("an append waits for the lock", lambda: watching.execute(WAITING).fetchone())
            assert api.get(f"/portfolio/requests/{request_id}").status_code == 200
            unavailable(api.get(f"/portfolio/requests/{other_id}"))
            for thread in threads:
                thread.join()
            assert monotonic() - began > PATIENCE_S
        eventually("no append is in hand", lambda: watching.execute(ACTIVE).fetchone() is None)
    assert api.ask(key="slow").json()["request_id"] == other_id + 1


def test_a_short_wait_is_not_noticed(api: Api) -> None:
    """A lock that goes away within the callers' patience costs them time and nothing else."""
    found: list[httpx.Response] = []
    with connect(api.url) as watching, locked_head(api.url):
        thread = threading.Thread(target=lambda: found.append(api.ask()))
        thread.start()
        eventually("the append waits for the lock", lambda: watching.execute(WAITING).fetchone())
    thread.join()
    assert found[0].status_code == 202


@contextlib.contextmanager
def freeze(server: EmbeddedPostgres) -> Iterator[None]:
    """Suspend the server's processes, as on a disk that does not answer. Connections stay open."""
    process = postmaster(server)
    processes = [process, *process.children(recursive=True)]
    for one in processes:
        one.suspend()
    try:
        yield
    finally:
        for one in reversed(processes):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.resume()


def test_a_database_that_hangs(server: EmbeddedPostgres, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it neither answers nor goes away, callers are told in bounded time; afterwards all is as if sent again."""
    api.asked()
    assert api.get("/portfolio/requests").status_code == 200
    with freeze(server):
        unavailable(api.ask(key="frozen"))
        monkeypatch.setattr("api.callers.monotonic", lambda: monotonic() + 2 * CACHE_S)  # looked up again
        unavailable(api.ask(key="frozen"))
        unavailable(api.ask(key="frozen"))
        assert api.get("/readyz", None).status_code == 503
        assert api.get("/healthz", None).status_code == 200
    assert eventually("a write", lambda: (found := api.ask(key="frozen")).status_code == 202 and found).json() == {
        "request_id": 2,
        "status": "queued",
    }
    eventually("a read", lambda: len(api.items("/portfolio/requests")) == 2)


def test_a_worker_lives_through_an_outage(server: EmbeddedPostgres, api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """A worker whose database goes away between its agent's answer and the record goes on by itself when it is back."""
    asked = threading.Event()
    back = threading.Event()

    def answer(request: AgentRequest, before: int) -> AgentAnswer:
        asked.set()
        assert back.wait(30)
        return fine(request)

    ids = [api.asked() for _ in range(5)]
    with working(api.url, Does(answer), lease_s=2.0):
        assert asked.wait(10)
        stop(server)
        back.set()
        eventually("the worker has an answer that it cannot record", lambda: "answer not recorded" in caplog.text)
        server.ensure_running()

        def answered() -> bool:
            rows = [api.get(f"/portfolio/requests/{row_id}") for row_id in ids]
            return all(row.status_code == 200 and row.json()["status"] == "recommended" for row in rows)

        eventually("the answers", answered)
