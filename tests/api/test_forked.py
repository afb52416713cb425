"""A program that the zygote forks is as good for a test as one in an interpreter of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.api import forked
from tests.api.program import cli, environment, start
from tests.support import eventually

SHOW = "import os, sys, json; print(json.dumps([sys.argv, dict(os.environ), os.getcwd(), sys.stdout.isatty()]))"
# Written, and flushed by the end of the interpreter alone.
UNFLUSHED = (
    "import sys, atexit; atexit.register(lambda: sys.stderr.write('end')); sys.stdout.write('\\u00e9'); sys.exit(7)"
)
STREAMS = (
    "import os, sys; print(sys.stdin, sys.__stdout__, sys.stderr.writable(),"
    " [os.open(os.devnull, os.O_RDWR) for _ in range(2)], end='', file=sys.stderr)"
)


@pytest.mark.parametrize("arguments", [["--version"], ["nonsense"], ["verify", "--max-findings", "0"]], ids=" ".join)
def test_it_does_what_a_fresh_one_does(arguments: list[str]) -> None:
    """The same exit code and the same bytes."""
    assert cli(*arguments) == cli(*arguments, fresh=True)


def test_it_has_its_own_arguments_environment_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of the programs that were started before it."""
    monkeypatch.chdir(tmp_path)
    for value in ("one", "two"):
        env = environment(**{f"OF_{value}": value})
        code, out, err = forked.run(SHOW, [value], env, 60)
        assert (code, err) == (0, "")
        assert json.loads(out) == [["-c", value], env, str(tmp_path), False]


def test_it_ends_as_interpreters_end() -> None:
    """Its streams are flushed, and what is registered for the end runs."""
    assert forked.run(UNFLUSHED, [], environment(), 60) == (7, "é", "end")


def test_it_has_no_stream_for_a_closed_descriptor(tmp_path: Path) -> None:
    """As in an interpreter that starts so, and the next files that it opens take these numbers."""
    with (tmp_path / "forked").open("wb") as err:
        assert forked.fork(STREAMS, [], environment(), (0, 1, err.fileno()), closed=(0, 1)).wait(60) == 0
    with (tmp_path / "fresh").open("wb") as err:
        started = start([], 1, err, environment(), before=f"{STREAMS}; raise SystemExit", closed=(0, 1))
        assert started.wait(60) == 0
    assert [(tmp_path / name).read_text() for name in ("forked", "fresh")] == ["None None True [0, 1]"] * 2


def test_it_takes_signals(tmp_path: Path) -> None:
    """It is waited for, and its exit code names the signal that ended it; others go on."""
    with (tmp_path / "out").open("wb") as out:
        first, second = (
            forked.fork("import time; print(1, flush=True); time.sleep(60)", [], environment(), (0, out.fileno(), 2))
            for _ in range(2)
        )
    eventually("both run", lambda: (tmp_path / "out").read_text() == "1\n1\n")
    with pytest.raises(subprocess.TimeoutExpired):
        first.wait(0)
    first.kill()
    assert (first.wait(60), second.poll()) == (-signal.SIGKILL, None)
    second.terminate()
    assert second.wait(60) == -signal.SIGTERM
    second.send_signal(signal.SIGTERM)  # there is nobody any more who could get it
    assert second.poll() == -signal.SIGTERM


def test_what_an_interpreter_reads_at_its_start_needs_a_fresh_one() -> None:
    """A variable that was read before the fork would be ignored."""
    assert forked.can_fork(environment()) is hasattr(os, "pidfd_open")
    assert not forked.can_fork(environment(PYTHONIOENCODING="latin-1"))
