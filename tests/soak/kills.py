"""Kill or stop one process after the other under load: what was acknowledged is there once, and nobody has to help.

The server and its embedded PostgreSQL run as they do for a user. Only a killed `serve` is started again from outside,
as a service manager would.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import httpx
import psutil
import psycopg

from api.postgres.embedded import EmbeddedPostgres
from projections import projector_process
from tests.api.program import Serving, serving
from tests.api.served import check_ledger
from tests.faults.callers import Callers
from tests.soak.threads import ends_noted
from tests.support import connect, eventually

CALLERS = 3
# Acknowledgements before each fault, and after it until it counts as over: more than were in flight.
BETWEEN, AFTER = 5, CALLERS + 2
# After this time a person would be called.
PATIENCE_S = 120.0
STOPPED_S = 1.0
BACKENDS = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
        AND application_name LIKE %s
"""
REQUESTS = """
    SELECT c.client_id, substring(e.stream FROM 9)::bigint FROM events e JOIN stream_clients c USING (stream)
    WHERE e.type = 'portfolio.requested'
"""


@dataclass
class Kills:
    """The outcome: for each kind of fault the seconds to recover, one for each round; what was lost or doubled."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    # How long each start of a killed `serve` took, from its process to the first request that it takes.
    starts_s: list[float] = field(default_factory=list)
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    # What a person would have had to do.
    unrecovered: list[str] = field(default_factory=list)
    # Answers other than 202 and 503, and callers that ended.
    errors: list[str] = field(default_factory=list)


class Site:
    """The server under load, and ways to hurt it."""

    def __init__(self, folder: Path, draw: random.Random) -> None:
        self._folder = folder
        self._draw = draw
        self._servers = contextlib.ExitStack()
        self._server: Serving | None = None
        self._pause = threading.Event()  # never set
        self.url = EmbeddedPostgres(folder / "data").url
        self.callers = Callers("", "")
        self.starts_s: list[float] = []
        self.faults: dict[str, Callable[[], None]] = {
            "kill -9 of serve": self._kill_server,
            "kill -9 of the postmaster": lambda: self._kill(self._postgres()[:1]),
            "kill -9 of all of PostgreSQL": lambda: self._kill(self._postgres()),
            "kill -9 of a backend": lambda: self._kill(self._backends("%")),
            "kill -9 of the writer's backend": lambda: self._kill(self._backends("advice-ledger writer")),
            "SIGSTOP of a backend, 1 s": lambda: self._stop(self._backends("%")),
            "SIGSTOP of the writer's backend, 1 s": lambda: self._stop(self._backends("advice-ledger writer")),
            "SIGSTOP of serve, 1 s": lambda: self._stop([psutil.Process(self._running().process.pid)]),
            "SIGSTOP of all of PostgreSQL, 1 s": lambda: self._stop(self._postgres()),
        }
        if (os.cpu_count() or 1) > 1:  # on one core, `serve` has it as a thread
            self.faults["kill -9 of the projector's process"] = lambda: self._kill(self._projectors())

    @contextlib.contextmanager
    def loaded(self) -> Iterator[None]:
        """Send commands while the block runs; after it, the server still runs until `close()`."""
        self._start()
        self.callers.token = self._running().tokens()["advisor"]
        with self.callers.calling(CALLERS):
            yield

    def close(self) -> None:
        """Stop the server."""
        self._servers.close()

    def settled(self) -> bool:
        """Return True once the server is ready and all events are signed."""
        ready = httpx.get(f"{self._running().base}/readyz", timeout=30).json()
        return (ready["status"], ready["checkpoint"]["not_covered"]) == ("ready", 0)

    def shows_the_newest(self) -> bool:
        """Return whether the command that was acknowledged last can be read. Raises AssertionError if it is unknown."""
        newest = list(self.callers.acknowledged.values())[-1]
        headers = {"Authorization": f"Bearer {self.callers.token}"}
        url = f"{self._running().base}/portfolio/requests/{newest}"
        status = httpx.get(url, headers=headers, timeout=60).status_code
        assert status in {200, 503}, f"the read of request {newest} was answered with {status}"
        return status == 200

    def _running(self) -> Serving:
        assert self._server is not None
        return self._server

    def _start(self) -> None:
        environment = {"XDG_STATE_HOME": str(self._folder / "state")}
        self._server = self._servers.enter_context(serving("--data-dir", self._folder / "data", env=environment))
        self.callers.base = self._server.base

    def _kill_server(self) -> None:
        self._running().process.kill()
        self._running().process.wait()
        began_s = monotonic()
        self._start()
        self.starts_s.append(monotonic() - began_s)

    def _postgres(self) -> list[psutil.Process]:
        """The postmaster, then its children."""
        pid = int((self._folder / "data/postgres/postmaster.pid").read_text().split()[0])
        return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]

    def _backends(self, application: str) -> list[psutil.Process]:
        """One backend of an application that this pattern matches. Raises AssertionError if there is none."""
        with connect(self.url) as conn:
            pids = [pid for (pid,) in conn.execute(BACKENDS, [application]).fetchall()]
        assert pids, f"PostgreSQL has no backend of {application}"
        return [psutil.Process(self._draw.choice(pids))]

    def _projectors(self) -> list[psutil.Process]:
        """The projector's process. Raises AssertionError if there is none."""
        children = psutil.Process(self._running().process.pid).children()
        found = [child for child in children if projector_process.__name__ in child.cmdline()]
        assert found, "serve has no projector's process"
        return found

    def _kill(self, processes: list[psutil.Process]) -> None:
        self._send(signal.SIGKILL, processes)

    def _stop(self, processes: list[psutil.Process]) -> None:
        self._send(signal.SIGSTOP, processes)
        self._pause.wait(STOPPED_S)
        self._send(signal.SIGCONT, processes)

    @staticmethod
    def _send(how: signal.Signals, processes: list[psutil.Process]) -> None:
        """Raises psutil.NoSuchProcess if the first one is not there; its children may have ended with it."""
        first, *children = processes
        first.send_signal(how)
        for process in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(how)


def run(folder: Path, rounds: int, seed: int, report: Callable[[str], None]) -> Kills:
    """Run the rounds, then compare all acknowledgements with the ledger, and verify it."""
    draw = random.Random(seed)
    site = Site(folder, draw)
    kills = Kills(starts_s=site.starts_s)
    try:
        with ends_noted(kills.errors), site.loaded():
            for number, fault in enumerate(_order(list(site.faults), rounds, draw)):
                try:
                    took_s = _round(site, fault)
                except (AssertionError, OSError, psutil.Error, psycopg.Error, httpx.HTTPError) as error:
                    kills.unrecovered.append(f"round {number + 1}, {fault}: {error}")
                    break
                kills.seconds.setdefault(fault, []).append(took_s)
                report(f"round {number + 1} of {rounds}: {fault}, {took_s:.1f} s")
        kills.errors += [f"a command was answered with {status}" for status in site.callers.statuses - {202, 503}]
        if not kills.unrecovered:
            eventually("ready, and all is signed", site.settled, within_s=PATIENCE_S, despite=(httpx.HTTPError,))
            _compare(site, kills)
    finally:
        site.close()
    return kills


def _order(faults: list[str], rounds: int, draw: random.Random) -> list[str]:
    """Return a fault for each round: all of them in random order, then all of them in another one, and so on."""
    return [fault for _ in range(0, rounds, len(faults)) for fault in draw.sample(faults, len(faults))][:rounds]


def _round(site: Site, fault: str) -> float:
    """Hurt the server; return the seconds until more commands are acknowledged than were in flight, and one is read."""
    _acknowledged(site.callers, BETWEEN)
    started_s = monotonic()
    site.faults[fault]()
    _acknowledged(site.callers, AFTER)
    eventually("a read", site.shows_the_newest, within_s=PATIENCE_S, despite=(httpx.TransportError,))
    return monotonic() - started_s


def _acknowledged(callers: Callers, count: int) -> None:
    before = len(callers.acknowledged)
    eventually("commands are acknowledged", lambda: len(callers.acknowledged) >= before + count, within_s=PATIENCE_S)


def _compare(site: Site, kills: Kills) -> None:
    """Count what is lost or there twice. Raises AssertionError if the chain or a read model does not hold."""
    acknowledged = site.callers.acknowledged
    with connect(site.url) as conn:
        rows = conn.execute(REQUESTS).fetchall()
    times, ids = Counter(key for key, _ in rows), dict(rows)
    kills.acknowledged = len(acknowledged)
    kills.lost = sum(ids.get(key) != request_id for key, request_id in acknowledged.items())
    kills.doubled = sum(count > 1 for count in times.values())
    check_ledger(site.url)
