"""Run the demo's own ledger: PostgreSQL in a folder, tokens for people and agents, and `advice-ledger serve` on it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from api.demo.clients import ADVISORS
from api.http.auth.tokens import new_token
from api.postgres.connect import connect, open_database
from api.postgres.logins import make_logins
from api.settings import variable
from ledger.database import Url
from ledger.service.admission import admit
from ledger.store.envelope import Actor
from projections.rebuild import rebuild_outdated
from schema.migrate import migrate

Process: TypeAlias = "subprocess.Popen[bytes]"

ORIGIN = "advice-ledger.example/demo"
ACTOR = Actor("advice-ledger", "service", "demo")
COMPLIANCE, AUDITOR, ADMIN = "compliance-1", "auditor-1", "admin-1"
# Agents in a program of their own need names other than those of the worker's agents.
OPTIMISER, HOUSE = "remote-optimiser", "remote-builtin"
ROLES = {
    **dict.fromkeys(ADVISORS, "advisor"),
    COMPLIANCE: "compliance",
    AUDITOR: "auditor",
    ADMIN: "admin",
    OPTIMISER: "agent",
    HOUSE: "agent",
}
PROGRAM = (sys.executable, "-c", "from api.cli import main; main()")
START_S = 60.0
STOP_S = 30.0
POLL_S = 0.05
HAS_LEDGER = "SELECT to_regclass('ledger.head') IS NOT NULL"
# Under root, PostgreSQL runs as another account, which must be able to enter the folder.
PASS_MODE = 0o711


class DemoFailed(Exception):
    """The demo cannot continue; the message says why."""


@dataclass(frozen=True)
class Site:
    """The running ledger: its address, its tokens by name, and its data folder."""

    url: str
    tokens: Mapping[str, str]
    folder: Path
    process: Process
    environment: Mapping[str, str] | None

    @contextlib.contextmanager
    def worker(self, agent: str) -> Iterator[None]:
        """Run another server on this ledger, whose worker answers queued requests with this agent."""
        with _serving(self.folder, self.environment, "--agent", agent):
            yield

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `advice-ledger` on this ledger, as a separate process."""
        command = [*PROGRAM, *arguments, "--data-dir", str(self.folder)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment)  # noqa: S603 - ours


@contextlib.contextmanager
def running(data_dir: Path | None, environment: Mapping[str, str] | None) -> Iterator[Site]:
    """Run the ledger during the block. Raises DemoFailed, and the errors of the database.

    Without `data_dir` the ledger is in a temporary folder, which is removed. `environment` is for the processes.
    """
    with contextlib.ExitStack() as stack:
        folder = data_dir.expanduser().resolve() if data_dir else stack.enter_context(_temporary())
        # A demo keeps no copy of the last signed checkpoint: everything is in one folder.
        environment = {**(os.environ if environment is None else environment), variable("state_dir"): f"{folder}/state"}
        made = _tokens(stack.enter_context(open_database(None, folder, make=True)))
        process, url = stack.enter_context(_serving(folder, environment, "--no-worker"))
        yield Site(url, made, folder, process, environment)


@contextlib.contextmanager
def _serving(folder: Path, environment: Mapping[str, str] | None, *options: str) -> Iterator[tuple[Process, str]]:
    """Run a server process during the block; yield it and its address."""
    command = [*PROGRAM, "serve", "--port", "0", "--data-dir", str(folder), *options]
    with tempfile.TemporaryFile() as log:
        # A session of its own, so that Ctrl-C reaches only this process, which then ends the server.
        process = subprocess.Popen(  # noqa: S603 - ours
            command, stdout=subprocess.DEVNULL, stderr=log, env=environment, start_new_session=True
        )
        try:
            yield process, _address(process, log.fileno())
        finally:
            _stop(process)


@contextlib.contextmanager
def _temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="advice-ledger-demo-") as name:
        Path(name).chmod(PASS_MODE)
        yield Path(name)


def _tokens(url: Url) -> dict[str, str]:
    """Create the ledger and a token for each name. Raises DemoFailed if the folder already has a ledger."""
    with connect(url, None) as conn:
        if conn.execute(HAS_LEDGER).fetchone() == (True,):
            raise DemoFailed("this folder has a ledger already, and the demo needs one of its own: name another folder")
        migrate(conn, origin=ORIGIN)
        make_logins(conn, url)
    rebuild_outdated(url)
    made = {name: new_token() for name in ROLES}
    with connect(url, "writer") as conn:
        admit(conn, ACTOR, [(name, ROLES[name], sha256) for name, (_, sha256) in made.items()])
    return {name: token for name, (token, _) in made.items()}


def _address(process: Process, log: int) -> str:
    deadline = time.monotonic() + START_S
    while True:
        output = os.pread(log, 1 << 16, 0).decode(errors="replace")
        if match := re.search(r"^serving on (\S+)$", output, re.MULTILINE):
            return match[1]
        if process.poll() is not None or time.monotonic() > deadline:
            raise DemoFailed(f"the server did not start; its output was: {output.strip()[-500:]!r}")
        time.sleep(POLL_S)


def _stop(process: Process) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
