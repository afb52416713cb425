"""Row 6: verify, client side, the whole chain, with a process for each core and with one; and memory at two sizes."""

from __future__ import annotations

import contextlib
import resource
import sys
from dataclasses import asdict, dataclass
from os import cpu_count
from pathlib import Path
from time import perf_counter, process_time

from ledger.database import conninfo
from ledger.verify.database import verify_chain
from ledger.verify.helpers import Helpers
from tests.bench import workload
from tests.bench.bench import Bench, connect, in_child
from tests.bench.figures import Figure, Target

SMALL = 10
# Helpers also verify the tiny ledger of the bench's own tests.
FEWEST = 100
SPEED = Target("at least", 150_000, of="figure")
# One pointer an event would be 8 bytes; less is what an allocator does.
FLAT = Target("at most", 4, of="figure")
READ = "COPY (SELECT * FROM events ORDER BY position) TO STDOUT (FORMAT BINARY)"


@dataclass(frozen=True)
class Run:
    """One verification in a process of its own."""

    events: int
    wall_s: float
    cpu_s: float
    before_mb: float
    peak_mb: float

    @property
    def grown_mb(self) -> float:
        """The memory of verification alone, without that of the process before it."""
        return self.peak_mb - self.before_mb


def measure(bench: Bench, url: str) -> list[Figure]:
    """The ledger at `url`, and for memory one of a tenth of its size."""
    bench.say("row 6: verify")
    alone: list[Run] = []
    helped: list[Run] = []
    with bench.meter() as meter:
        for _ in range(2):
            alone.append(in_child(verify, url, 1))
            helped.append(in_child(verify, url, cpu_count() or 1))
    read_s = in_child(read_all, url)
    one, all_cores = (min(runs, key=lambda run: run.wall_s) for runs in (alone, helped))
    bench.say("row 6: verify of a tenth, for memory")
    with bench.ledger() as small_url:
        workload.fill(bench, small_url, max(1, one.events // SMALL))
        small = in_child(verify, small_url, 1)
    grown = (one.grown_mb - small.grown_mb) * 2**20 / max(1, one.events - small.events)
    detail = {
        "events": one.events,
        "alone": [asdict(run) for run in alone],
        "helped": [asdict(run) for run in helped],
        "small": asdict(small),
    }
    limit = "COPY events to a client that drops them"
    drop = one.events / read_s
    cpu_us = meter.us(4 * one.events)

    def speed(what: str, ours: float, peer: str, theirs: float, target: Target | None = None) -> Figure:
        return Figure(6, what, ours, "events/s", peer, theirs, ours / theirs, target, detail, cpu_us)

    clock, beside = all_cores.events / all_cores.wall_s, one.events / one.wall_s
    return [
        speed("verify, a process for each core, by the clock", clock, limit, drop, SPEED),
        speed("verify, a process for each core, by the clock", clock, "one process", beside),
        speed("verify, one process, by the clock", beside, limit, drop),
        speed("verify, one process, by its processor time", one.events / one.cpu_s, limit, drop),
        Figure(6, "verify, memory that more events take", grown, "bytes/event", target=FLAT, detail=detail),
    ]


def verify(url: str, processes: int) -> Run:
    """Verifies the chain; called in a fresh process, as peak memory never falls."""
    with connect(url, "verifier") as conn:
        before_mb = _start_peak()
        wall, cpu = perf_counter(), _used_s()
        report = verify_chain(conn, helpers=Helpers(conninfo(url, "verifier"), processes, fewest=FEWEST))
        wall_s, cpu_s = perf_counter() - wall, _used_s() - cpu
    assert not report.findings, report.findings[0]
    return Run(report.events, wall_s, cpu_s, before_mb, _peak_mb())


def _used_s() -> float:
    """Seconds of processor time of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return process_time() + children.ru_utime + children.ru_stime


def read_all(url: str) -> float:
    """Seconds to receive the events and look at nothing."""
    with connect(url, "verifier") as conn, conn.cursor() as cursor:
        started = perf_counter()
        with cursor.copy(READ) as copy:
            for _ in copy:
                pass
        return perf_counter() - started


def _start_peak() -> float:
    """Where the peak starts: on Linux from what the process holds now, elsewhere from the most that it ever held."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak_mb()


def _peak_mb() -> float:
    """The most memory that this process held, on Linux since _start_peak()."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
