"""kill -9 in the middle of a load, of the server's process and of PostgreSQL: what was acknowledged is there, once."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from api.postgres.embedded import EmbeddedPostgres
from projections.rebuild import rebuild_outdated
from schema.migrate import migrate
from tests.api.program import serving
from tests.api.served import ledger_copy, make_tokens, served
from tests.conftest import Template
from tests.faults.callers import Callers
from tests.support import connect, eventually


@pytest.fixture
def ledger(server_url: str, template_database: Template) -> Iterator[str]:
    """A ledger with its read models."""
    with ledger_copy(server_url, template_database) as url:
        yield url


def caught_up(url: str) -> bool:
    """Return True if every read model is at the head."""
    with connect(url) as conn:
        row = conn.execute("SELECT bool_and(p.position = h.position) FROM projections p, head h").fetchone()
    return row == (True,)


def kill_server_under_load(url: str, kills: int) -> None:
    """Kill -9 and restart the server again and again while callers go on. Each server has a worker."""
    callers = Callers("http://127.0.0.1:9", make_tokens(url)["advisor"])
    with contextlib.ExitStack() as last:
        with callers.calling():
            for left in reversed(range(kills + 1)):
                server = last.enter_context(serving("--database-url", url))
                callers.base = server.base
                callers.go_on(40)
                if left:
                    server.process.kill()
                    server.process.wait()
        assert callers.broken > 0
        assert callers.statuses == {202}
        # Nobody writes any more but the workers, of which some were killed after claiming.
        eventually("the read models", lambda: caught_up(url))
        callers.check(url)


def kill_postgres(server: EmbeddedPostgres) -> None:
    """Kill -9 the postmaster and all its children."""
    pid = int((server.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    postmaster = psutil.Process(pid)
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=30)


def kill_postgres_under_load(folder: Path, kills: int) -> None:
    """Kill -9 and restart PostgreSQL while callers go on. The application is not restarted."""
    with EmbeddedPostgres(folder) as server:
        with psycopg.connect(server.url, autocommit=True) as conn:
            migrate(conn)
        rebuild_outdated(server.url)
        with served(server.url, patience_s=1.0) as api:
            callers = Callers(api.base, api.tokens["advisor"])
            with callers.calling():
                for _ in range(kills):
                    callers.go_on(40)
                    kill_postgres(server)
                    callers.are_refused()
                    server.ensure_running()
                callers.go_on()
            assert callers.statuses == {202, 503}
            assert callers.broken == 0
            assert api.get("/portfolio/requests").status_code == 200
            callers.check(server.url)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path outside pytest's own folders, which as root shut out the server's account."""
    path = Path(tempfile.mkdtemp(prefix="advice-ledger-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def test_a_killed_server_loses_and_doubles_nothing(ledger: str) -> None:
    """kill -9 of the process under load: after the restart each acknowledged command is there exactly once."""
    kill_server_under_load(ledger, 1)


def test_a_killed_postgres_loses_nothing_acknowledged(folder: Path) -> None:
    """kill -9 of PostgreSQL under load: 503 meanwhile, then all goes on, and nothing acknowledged is lost."""
    kill_postgres_under_load(folder, 1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_server_killed_again_and_again_loses_and_doubles_nothing(ledger: str) -> None:
    """The same, eight times."""
    kill_server_under_load(ledger, 8)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_postgres_killed_again_and_again_loses_nothing_acknowledged(folder: Path) -> None:
    """The same, eight times."""
    kill_postgres_under_load(folder, 8)
