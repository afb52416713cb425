"""Run the program as its users do: a process with an exit code and output."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from api.settings import variable
from tests.api import forked
from tests.paths import ROOT
from tests.support import eventually

START_S = 60
STOP_S = 30
TIMEOUT_S = 300
PROGRAM = "from api.cli import main; main()"


@dataclass(frozen=True)
class Ran:
    """The exit code and output of a run."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Parse its output."""
        return json.loads(self.out)

    def failed_with(self, *words: str) -> bool:
        """Assert that it could not run, printed no result, and gave the reason in one line with these words."""
        assert (self.code, self.out) == (2, ""), self
        assert self.err.startswith("error: "), self.err
        assert self.err.count("\n") == 1, self.err
        assert all(word in self.err for word in words), self.err
        return True


def environment(**variables: str) -> dict[str, str]:
    """Return our environment without the settings of the program, plus `variables`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ADVICE_LEDGER_")}
    return inherited | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "client")])} | variables


def variables(**settings: object) -> dict[str, str]:
    """The environment variables that hold these settings; items of a list stand between blanks."""
    return {
        variable(name): " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        for name, value in settings.items()
    }


def cli(*arguments: object, before: str = "", env: Mapping[str, str] | None = None, fresh: bool = False) -> Ran:
    """Run `advice-ledger` with these arguments to its end, after the Python statements in `before`.

    `fresh`: in an interpreter of its own, that has imported nothing yet; so it is wherever there are such statements.
    """
    variables = environment(**(env or {}))
    if not before and not fresh and forked.can_fork(variables):
        return Ran(*forked.run(PROGRAM, [str(one) for one in arguments], variables, TIMEOUT_S))
    command = [sys.executable, "-c", f"{before}\n{PROGRAM}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=variables)
    return Ran(done.returncode, done.stdout, done.stderr)


def start(
    arguments: Sequence[str],
    out: IO[Any] | int,
    err: IO[Any] | int,
    env: Mapping[str, str],
    *,
    before: str = "",
    fresh: bool = False,
    closed: Sequence[int] = (),
) -> subprocess.Popen[bytes] | forked.Forked:
    """Start `advice-ledger`, as `cli()` does, with these outputs. The environment is a whole one.

    The descriptors in `closed` are closed before the interpreter starts.
    """
    if not before and not fresh and forked.can_fork(env):
        stdout, stderr = (one if isinstance(one, int) else one.fileno() for one in (out, err))
        return forked.fork(PROGRAM, arguments, env, (0, stdout, stderr), closed)
    command = [sys.executable, "-c", f"{before}\n{PROGRAM}", *arguments]
    if closed:
        command = ["bash", "-c", 'exec "$0" "$@"' + "".join(f" {one}>&-" for one in closed), *command]
    return subprocess.Popen(command, stdout=out, stderr=err, env=env)


@dataclass
class Serving:
    """A running server: its process, its address, and the folder with its output."""

    process: subprocess.Popen[bytes] | forked.Forked
    base: str
    folder: Path

    @property
    def out(self) -> str:
        """The output on stdout so far."""
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        """The output on stderr so far."""
        return (self.folder / "err").read_text()

    @property
    def port(self) -> int:
        """The port of the server."""
        return int(self.base.rpartition(":")[2])

    def tokens(self) -> dict[str, str]:
        """Return the first tokens, by role, from the file that the server names."""
        [line] = re.findall(r"^\. .+$", self.out, re.MULTILINE)
        exports = Path(shlex.split(line)[1]).read_text()
        return {
            role.lower(): token for role, token in re.findall(r"^export ([A-Z]+)=(alt_\S+)$", exports, re.MULTILINE)
        }

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the server, and return its exit code."""
        self.process.send_signal(how)
        return self.process.wait(STOP_S)


@contextlib.contextmanager
def serving(
    *arguments: object, env: Mapping[str, str] | None = None, before: str = "", fresh: bool = False
) -> Iterator[Serving]:
    """Run `advice-ledger serve` on a free port while the block runs. It takes requests when the block begins.

    `before` and `fresh` are those of `cli()`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = ["serve", "--port", "0", *map(str, arguments)]
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = start(
                command, out, err, environment(XDG_DATA_HOME=name, **(env or {})), before=before, fresh=fresh
            )
        try:
            yield Serving(process, address_of(process, folder / "err"), folder)
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(STOP_S)


def address_of(process: subprocess.Popen[bytes] | forked.Forked, err: Path) -> str:
    """Return the address that a started program prints to stderr, once it does."""

    def address() -> str | None:
        printed = re.search(r"^serving on (\S+)$", err.read_text(), re.MULTILINE)
        assert printed is not None or process.poll() is None, f"the program did not start: {err.read_text()}"
        return printed and printed[1]

    return eventually("the program serves", address, within_s=START_S)
