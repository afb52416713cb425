"""The projector's process: it is started again when it dies, and ends with its parent, however that ends."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ledger.database import Connection
from projections import projector_process
from projections.projector_process import ProjectorProcess
from projections.registry import all_models
from tests.api.program import serving
from tests.projections.scenes import ask, assert_true_to_the_chain, head, standing
from tests.support import connect, eventually


def at_head(conn: Connection) -> bool:
    """Return whether all read models have all events."""
    return all(standing(conn, read_model)[0] == head(conn) for read_model in all_models())


def children(of: int | None = None) -> list[psutil.Process]:
    """Return the processes of projectors below a process, by default this one."""
    found = []
    for child in psutil.Process(of).children(recursive=True):
        try:
            if projector_process.__name__ in child.cmdline():
                found.append(child)
        except psutil.Error:  # it ended meanwhile
            continue
    return found


@contextmanager
def running(url: str) -> Iterator[ProjectorProcess]:
    """Keep a projector's process alive while the block runs."""
    keeper = ProjectorProcess(url)
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_projector_is_started_again_and_nothing_is_lost(
    database_url: str, caplog: pytest.LogCaptureFixture, how: signal.Signals
) -> None:
    """Its read models have all events afterwards, once each, and the log says how it ended."""
    caplog.set_level(logging.WARNING)
    with running(database_url), connect(database_url) as conn:
        for _ in range(2):
            ask(conn, 20)
            [child] = eventually("one process runs", lambda: found if len(found := children()) == 1 else None)
            child.send_signal(how)
            # psutil must not wait for it: the keeper would not learn how its child ended.
            eventually("another process runs", lambda before=child: before not in (now := children()) and now)
            ask(conn, 20)
            eventually("all read models are at the head", lambda: at_head(conn))
    assert f"its process ended with signal {how.name}; starting another" in caplog.text
    assert_true_to_the_chain(database_url)


def test_a_stop_ends_the_process(database_url: str) -> None:
    """stop() returns when no process is left, and starts no other one."""
    with running(database_url) as keeper, connect(database_url) as conn:
        ask(conn)
        eventually("all read models are at the head", lambda: at_head(conn))
        keeper.stop()
        assert (keeper.is_alive(), keeper.status.state, children()) == (False, "stopped", [])


def test_a_stop_before_the_process_starts_leaves_none(database_url: str) -> None:
    """stop() may come at any moment of the start."""
    for _ in range(5):
        with running(database_url) as keeper:
            pass
        assert (keeper.is_alive(), children()) == (False, [])


def test_the_settings_are_not_in_the_arguments_of_the_process(database_url: str) -> None:
    """The database's address may hold a password, and any user of the machine can read arguments."""
    with running(database_url):
        [child] = eventually("the process runs", children)
        assert child.cmdline()[1:] == ["-P", "-m", projector_process.__name__]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_process_ends_with_the_server(tmp_path: Path, how: signal.Signals) -> None:
    """However `serve` ends, no projector stays behind. (With one core there is none.)"""
    with serving("--data-dir", tmp_path / "data") as server:
        projectors = children(server.process.pid)
        assert len(projectors) == (1 if (psutil.cpu_count() or 1) > 1 else 0)
        server.stop(how)
        _, alive = psutil.wait_procs(projectors, timeout=10)
        assert alive == []
