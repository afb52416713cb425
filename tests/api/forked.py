"""Start `advice-ledger` as a process, without importing it each time: see zygote.py."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.api.zygote import MOST_BYTES

BEGIN = "import socket; from tests.api.zygote import next_program; exec(next_program(socket.socket(fileno={})))"
# Where this is set, or the system is not Linux, each start is a fresh interpreter.
FRESH = "ADVICE_LEDGER_TEST_FRESH"
# An interpreter reads these before it runs anything.
OF_INTERPRETERS = ("PYTHON", "LC_", "LANG", "MALLOC_", "LD_", "OPENSSL", "SSL_")


class Forked:
    """A running program, with the methods of subprocess.Popen that tests use."""

    def __init__(self, replies: socket.socket) -> None:
        self._replies = replies
        self.pid = int(self._receive(None))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return the exit code, or the signal as a negative number. Raises TimeoutExpired."""
        if self.returncode is None:
            self.returncode = int(self._receive(timeout))
            self._replies.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _receive(self, timeout: float | None) -> bytes:
        self._replies.settimeout(timeout)
        try:
            message = self._replies.recv(100)
        except (TimeoutError, BlockingIOError) as error:
            raise subprocess.TimeoutExpired("advice-ledger", timeout or 0) from error
        assert message, "the zygote ended"
        return message


def can_fork(env: Mapping[str, str]) -> bool:
    """Return True if a forked process is as good as a fresh interpreter in this environment."""
    if not hasattr(os, "pidfd_open") or FRESH in os.environ:
        return False
    names = {name for name in {*env, *os.environ} if name.startswith(OF_INTERPRETERS) and name != "PYTHONPATH"}
    return all(env.get(name) == os.environ.get(name) for name in names)


def fork(
    source: str,
    arguments: Sequence[str],
    env: Mapping[str, str],
    descriptors: tuple[int, int, int],
    closed: Sequence[int] = (),
) -> Forked:
    """Run a program with these arguments, environment, stdin, stdout and stderr, in the current folder.

    Those in `closed` are closed instead.
    """
    start = {"source": source, "arguments": arguments, "env": dict(env), "folder": str(Path.cwd())}
    message = json.dumps(start | {"closed": closed}).encode()
    assert len(message) < MOST_BYTES
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        socket.send_fds(_zygote(env["PYTHONPATH"]), [message], [*descriptors, theirs.fileno()])
    return Forked(ours)


@functools.cache
def _zygote(path: str) -> socket.socket:
    """Start the zygote of this test process; return the socket for starts."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", BEGIN.format(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def run(source: str, arguments: Sequence[str], env: Mapping[str, str], timeout_s: float) -> tuple[int, str, str]:
    """Run a program to its end; return its exit code and what it wrote to stdout and stderr."""
    pipes = [os.pipe(), os.pipe()]
    process = fork(source, arguments, env, (0, pipes[0][1], pipes[1][1]))
    written: dict[int, str] = {}

    def read(descriptor: int) -> None:
        with open(descriptor, encoding="utf-8") as pipe:
            written[descriptor] = pipe.read()

    readers = [threading.Thread(target=read, args=(reading,), daemon=True) for reading, _ in pipes]
    for (_, writing), reader in zip(pipes, readers, strict=True):
        os.close(writing)
        reader.start()
    try:
        code = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    for reader in readers:  # until nobody has the other side open, also none that the program has started
        reader.join(timeout_s)
    return code, written[pipes[0][0]], written[pipes[1][0]]
