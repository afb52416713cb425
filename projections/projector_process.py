"""Run the projector in a process of its own, so that it does not share a core with the HTTP server's thread.

`ProjectorProcess` starts the process, starts it again when it ends, and ends it. The child gets its settings, which may
hold a password, over its standard input. It ends when that input ends: the parent has closed it, or is dead, also by
`kill -9`. A step survives a crash at any point (projections/engine.py), so nothing is lost or done twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from typing import IO

from ledger.background import RETRY_S, BackgroundWorker, Failure, log_to_stderr, stop_all
from ledger.database import Url, login_of
from projections.projector import Helper, Projector

# The seconds that the child has to end its step after the end of its input.
STOP_S = 3.0


class ProcessEnded(Exception):
    """The process ended although nobody stopped it. The message has the exit code or the signal."""

    def __init__(self, code: int) -> None:
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        super().__init__(f"its process ended with {how}")


class ProjectorProcess(BackgroundWorker):
    """Keep one process with a projector alive until stop(). The login of `url` must be allowed to act as projector."""

    def __init__(self, url: Url, *, schema: str = "ledger") -> None:
        super().__init__("projector process")
        self._settings = json.dumps({"url": login_of(url, "projector", schema=schema), "schema": schema}) + "\n"
        # Held to set or close the input of the current process.
        self._lock = threading.Lock()
        self._input: IO[str] | None = None

    def work(self) -> None:
        """Start the process and wait for its end. Raises ProcessEnded, unless it ended because of stop()."""
        # -P: do not load modules from the working folder.
        command = [sys.executable, "-P", "-m", __name__]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:  # noqa: S603 - this module
            with self._lock:
                self._input = process.stdin
            self._send_settings()
            if self._stopping.is_set():
                self.interrupt()
            self.report("running")
            code = process.wait()
        if not self._stopping.is_set():
            raise ProcessEnded(code)

    def on_failure(self, error: Exception) -> Failure | None:
        """Describe the end of the process, and why none could be started."""
        if isinstance(error, ProcessEnded):
            return Failure(f"{error}; starting another", RETRY_S)
        if isinstance(error, OSError):
            return Failure(f"no process can be started: {error.strerror}")
        return None

    def interrupt(self) -> None:
        """Close the input of the process, which ends it."""
        with self._lock, contextlib.suppress(OSError):  # it may have ended
            if self._input is not None:
                self._input.close()

    def _send_settings(self) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):  # it has ended, or stop() was quicker
            if self._input is not None:
                self._input.write(self._settings)
                self._input.flush()


def main() -> None:
    """Run a projector with its helper until the standard input ends."""
    log_to_stderr()
    # Ctrl-C in a terminal goes to all its processes. The parent decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = sys.stdin.readline()
    if not line:
        return
    settings = json.loads(line)
    helper = Helper(settings["url"], schema=settings["schema"])
    projector = Projector(settings["url"], schema=settings["schema"], helper=helper)
    for worker in (helper, projector):
        worker.start()
    sys.stdin.read()
    stop_all([projector, helper], STOP_S)
    # Not sys.exit(): a step that hangs in the database must not keep the process.
    os._exit(0)


if __name__ == "__main__":
    main()
