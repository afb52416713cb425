"""Processor time: of this process and its children, and of the PostgreSQL server if it is on this machine.

A busy machine makes everything slower by the clock, and changes processor time little. So each row has both.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

import psutil
import psycopg


def used_s(pid: int) -> float:
    """Return the processor time in seconds of a process, its live descendants, and its children that have ended."""
    process = psutil.Process(pid)
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        try:
            times = each.cpu_times()
        except psutil.Error:  # it ended meanwhile; its parent has its time now
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return float(total)


def server_pid(url: str) -> int | None:
    """Return the process id of the PostgreSQL server; None if its data folder is not on this machine."""
    with psycopg.connect(url) as conn:
        row = conn.execute("SHOW data_directory").fetchone()
    assert row is not None
    try:
        return int((Path(str(row[0])) / "postmaster.pid").read_text().split("\n", maxsplit=1)[0])
    except (OSError, ValueError):
        return None


class Meter:
    """Adds up processor time of a piece of work: `with meter: …`. `us(n)` is that for each of `n` events."""

    def __init__(self, server: int | None) -> None:
        self._pids = [os.getpid()] if server is None else [os.getpid(), server]
        self._began_s = 0.0
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._began_s = sum(map(used_s, self._pids))
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += sum(map(used_s, self._pids)) - self._began_s

    def us(self, events: int) -> float:
        """Return microseconds of processor time for each of these events."""
        return self.seconds / max(1, events) * 1e6
