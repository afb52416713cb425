"""Background workers: a failure is logged once, shown as long as it lasts, and never ends a thread unseen."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ledger.background import BackgroundWorker, Failure, WorkerStatus
from tests.support import eventually

SECRET = "Ada Lovelace"


class Scripted(BackgroundWorker):
    """Raises the errors of the script in turn, then works until it is stopped."""

    def __init__(self, *script: Exception) -> None:
        super().__init__("scripted")
        self.script = list(script)
        self.calls = 0

    def work(self) -> None:
        self.calls += 1
        if self.script:
            raise self.script.pop(0)
        self.report("running")
        self._stopping.wait()

    def on_failure(self, error: Exception) -> Failure | None:
        if isinstance(error, OSError):
            return Failure(str(error), retry_s=0)
        if isinstance(error, PermissionError | LookupError):
            return Failure("not allowed", retry_s=None)
        return None

    def on_unforeseen(self, error: Exception) -> Failure:
        return super().on_unforeseen(error)._replace(retry_s=0.05)


@contextmanager
def running(worker: Scripted) -> Iterator[Scripted]:
    """Run the worker while the block runs."""
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()
        assert not worker.is_alive()


def test_a_failure_that_repeats_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Five tries fail for two reasons: two warnings. Then it works, and the status forgets the failure."""
    script = [OSError("disk full")] * 3 + [OSError("no route")] * 2
    with caplog.at_level(logging.INFO), running(Scripted(*script)) as worker:
        eventually("it works", lambda: worker.status == WorkerStatus("running"))
        assert worker.calls == 6
    assert [(record.levelname, record.name) for record in caplog.records] == [
        ("WARNING", __name__),
        ("WARNING", __name__),
        ("INFO", __name__),
    ]
    assert worker.status == WorkerStatus("stopped")


def test_an_unforeseen_error_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    """It is shown and logged with its place but without its text, and the worker tries again."""
    with running(Scripted(ZeroDivisionError(SECRET), *[ZeroDivisionError(SECRET)] * 2)) as worker:
        eventually("it is shown", lambda: worker.status.state == "failing")
        assert "ZeroDivisionError in work, line " in (worker.status.error or "")
        eventually("it works", lambda: worker.status == WorkerStatus("running"))
    assert "test_background.py" in caplog.text
    assert SECRET not in caplog.text


def test_a_failure_without_retry_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    """The worker refuses to go on; status and one error in the log say why, also after stop()."""
    with running(Scripted(LookupError("x"))) as worker:
        worker.join(10)
        assert not worker.is_alive()
    assert worker.status == WorkerStatus("refused", "not allowed")
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_failure_while_it_stops_is_none(caplog: pytest.LogCaptureFixture) -> None:
    """What breaks because the worker was told to stop is not reported."""

    class Broken(Scripted):
        def interrupt(self) -> None:
            self.script.append(OSError("closed"))

        def work(self) -> None:
            self._stopping.wait()
            raise self.script.pop()

    with running(Broken()) as worker:
        pass
    assert (worker.status, caplog.records) == (WorkerStatus("stopped"), [])


def test_warnings_of_psycopg_with_texts_of_the_database_are_not_logged() -> None:
    """A program that runs for long logs what the pool warns of, and no warning with the text of a database's error."""
    script = (
        "import logging; from ledger.background import log_to_stderr; log_to_stderr();"
        " logging.getLogger('psycopg').warning('error ignored: DETAIL Smith');"
        " logging.getLogger('psycopg.pool').warning('error connecting')"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines() == ["WARNING: psycopg.pool: error connecting"]
