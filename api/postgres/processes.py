"""List the processes of a PostgreSQL cluster from the operating system, for the clean-up after a crash."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

POLL_S = 0.05


def processes_in(pgdata: Path) -> list[psutil.Process]:
    """Return the PostgreSQL processes whose working folder is the cluster. A zombie has no working folder."""
    import psutil  # noqa: PLC0415 - a part of the `embedded` extra, which this module's callers have found

    processes = psutil.process_iter(["name", "cwd"])
    return [p for p in processes if p.info["name"] == "postgres" and p.info["cwd"] == str(pgdata)]


def end_processes(pgdata: Path, signal_number: signal.Signals, *, within_s: float) -> bool:
    """Signal every process of the cluster, and return whether all ended within `within_s`."""
    import psutil  # noqa: PLC0415 - see `processes_in`

    for process in processes_in(pgdata):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal_number)
    deadline = time.monotonic() + within_s
    while processes_in(pgdata):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
