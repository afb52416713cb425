"""Mixed load for long: the server's memory ends where it was once everything had been used."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic

import psutil

from tests.api.program import serving
from tests.soak.mixed import MixedLoad

SAMPLE_S = 5.0
# Until then, connections open, caches fill, and lists reach the length of a page.
SETTLE = 0.25
# The median of the last tenth may be above that after settling by this much.
MORE = 0.05


@dataclass
class Memory:
    """Resident memory in MB by seconds since the start, requests answered, and what failed (see MixedLoad)."""

    samples: list[tuple[float, float]] = field(default_factory=list)
    answers: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def begin_mb(self) -> float:
        """The median of the tenth after settling."""
        return self._median(SETTLE, SETTLE + 0.1)

    @property
    def end_mb(self) -> float:
        """The median of the last tenth."""
        return self._median(0.9, 1.0)

    @property
    def is_flat(self) -> bool:
        """True if it ends with the memory that it had."""
        return self.end_mb <= self.begin_mb * (1 + MORE)

    def _median(self, begin: float, end: float) -> float:
        length = len(self.samples)
        part = self.samples[int(begin * length) : max(int(end * length), int(begin * length) + 1)]
        return median(mb for _, mb in part)


def run(folder: Path, minutes: float, report: Callable[[str], None]) -> Memory:
    """Run mixed load for so many minutes, with a worker, or until something fails; sample the memory of `serve`."""
    memory, pause = Memory(), threading.Event()
    environment = {"XDG_STATE_HOME": str(folder / "state")}
    with serving("--data-dir", folder / "data", env=environment) as server:
        process, load = psutil.Process(server.process.pid), MixedLoad(server.base, server.tokens())
        load.prepare()
        started_s = monotonic()
        with load.running():
            while (elapsed_s := monotonic() - started_s) < minutes * 60 and not load.errors:
                memory.samples.append((elapsed_s, process.memory_info().rss / 1e6))
                if len(memory.samples) % 12 == 0:
                    report(f"{elapsed_s / 60:.0f} of {minutes:g} min: {memory.samples[-1][1]:.1f} MB")
                pause.wait(SAMPLE_S)
        memory.answers, memory.errors = sum(load.answers.values()), load.errors
    return memory
