"""Row 10: the cost of signing for appends, measured in two ways: in turns, and beside neighbours."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from time import monotonic, perf_counter, sleep

import psycopg
import uvloop

from ledger.database import AsyncConnection, conninfo
from ledger.store import events
from ledger.store.envelope import encode
from ledger.tlog.sign.signer import Signer
from ledger.tlog.sign.signer_thread import SignerThread, SigningConfig
from ledger.tlog.sign.state_file import Signed
from ledger.tlog.signing_keys import SigningKey
from tests.bench.bench import Bench, connect
from tests.bench.figures import Figure, Target, beside
from tests.bench.workload import BATCH, noted

WHILE_SIGNED = Target("at least", 0.95)

# Many short turns: whatever else the machine does changes within seconds, and both sides are to see the same of it.
TURNS_A_ROUND = 4
TURN_SHARE = 0.3
NEIGHBOURS = 6
CATCH_UP_S = 60.0

# (start, end), in seconds.
Span = tuple[float, float]


class Timed(SignerThread):
    """A signer that notes when it was at work."""

    def __init__(self, url: str, signing: SigningConfig) -> None:
        super().__init__(url, signing)
        self.steps: list[Span] = []

    def _sign(self, signer: Signer, position: int) -> Signed | None:
        started = perf_counter()
        signed = super()._sign(signer, position)
        if signed is not None:
            self.steps.append((started, perf_counter()))
        return signed


def measure(bench: Bench) -> list[Figure]:
    """The same appends in turn, with a signer at work in the same process and without."""
    bench.say("row 10: appends while the log is signed")
    return uvloop.run(_measure(bench))


async def _measure(bench: Bench) -> list[Figure]:
    options = bench.options
    turn_s = TURN_SHARE * options.seconds
    signed: list[float] = []
    plain: list[float] = []
    shares: list[float] = []
    done = 0
    with bench.ledger() as url, tempfile.TemporaryDirectory(prefix="advice-ledger-bench-") as folder:
        with connect(url) as conn:
            row = conn.execute("SELECT origin FROM head").fetchone()
        assert row is not None
        signing = SigningConfig(SigningKey.generate(row[0]), Path(folder) / "last")
        async with await psycopg.AsyncConnection.connect(conninfo(url, "writer"), autocommit=True) as writer:
            for number in range(-1, TURNS_A_ROUND * options.rounds):
                # Each goes first in turn.
                for with_signer in (True, False) if number % 2 else (False, True):
                    if with_signer:
                        with signer(url, signing) as thread:
                            spans = await _append(writer, done, turn_s)
                        shares += [] if number < 0 else shares_of(spans, thread.steps)
                    else:
                        spans = await _append(writer, done, turn_s)
                    done += BATCH * len(spans)
                    if number >= 0:
                        (signed if with_signer else plain).append(rate(spans))
    found = beside(
        10, "bulk append while signed each second", "events/s", signed, "the same without a signer", plain, WHILE_SIGNED
    )
    return [found, *_near(shares)]


def _near(shares: Sequence[float]) -> list[Figure]:
    """Compare the batches that ran while a tree was signed with their neighbours; nothing if there are too few.

    No target: what a step costs the batches around it is not in it.
    """
    if not shares:
        return []
    kept = statistics.median(shares)
    what, peer = "batches while a tree is signed, beside those around them", "the batches before and after"
    return [Figure(10, what, kept, "x", peer, 1.0, kept, None, {"signs": len(shares), "shares": list(shares)})]


async def _append(writer: AsyncConnection, first: int, turn_s: float) -> list[Span]:
    """When each batch began and ended; encoding is not in it."""
    spans: list[Span] = []
    until = monotonic() + turn_s
    while not spans or monotonic() < until:
        lines = [encode(noted(number)) for number in range(first, first + BATCH)]
        started = perf_counter()
        await events.append(writer, lines)
        spans.append((started, perf_counter()))
        first += BATCH
    return spans


def rate(spans: Sequence[Span]) -> float:
    """Events a second, while appending."""
    return BATCH * len(spans) / sum(end - start for start, end in spans)


def shares_of(spans: Sequence[Span], steps: Sequence[Span]) -> list[float]:
    """For each step the speed that was left: what it made batches take longer, over all that were appended since the
    step before it. Only steps with batches around them that no step touched."""
    touched = [any(start < end_s and start_s < end for start_s, end_s in steps) for start, end in spans]
    found = []
    for (_, before), (started, ended) in pairwise(steps):
        under = [at for at, (start, end) in enumerate(spans) if start < ended and started < end]
        since = sum(before < end <= ended for _, end in spans)
        around = range(max(0, under[0] - NEIGHBOURS), under[-1] + 1 + NEIGHBOURS) if under else range(0)
        near = [spans[at][1] - spans[at][0] for at in around if at < len(spans) and not touched[at]]
        if len(near) >= 3 and since:
            usual = statistics.median(near)
            longer = sum(spans[at][1] - spans[at][0] for at in under) - usual * len(under)
            found.append(usual * since / (usual * since + longer))
    return found


@contextmanager
def signer(url: str, signing: SigningConfig) -> Iterator[Timed]:
    """A signer that has caught up and goes on signing."""
    thread = Timed(url, signing)
    thread.start()
    try:
        deadline = monotonic() + CATCH_UP_S
        with connect(url) as conn:
            query = "SELECT position - coalesce((SELECT max(size) FROM checkpoints), 0) FROM head"
            while thread.status.state != "leads" or conn.execute(query).fetchone() != (0,):
                assert monotonic() < deadline, thread.status
                sleep(0.01)
        yield thread
    finally:
        thread.stop()
