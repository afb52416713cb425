"""`python -m tests.bench.ten_years`: run 1,000 portfolios of 20 assets over ten years of daily prices, day by day.

Each day records the prices of 100 assets and judges all portfolios as a historical run; the projector, a process of its
own, fills the drift history beside it. Prices go back to their level (their logarithms are an autoregression of order
one), so that alerts rise and settle at the same rate in each year, and a day that costs more than one of the first year
shows growth. At the end the drift history is built anew, and compared with what the projector has made.
"""

from __future__ import annotations

import argparse
import math
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter, process_time

import psutil
import uvloop
from rich.console import Console

from ledger.service.ledger import Ledger
from ledger.service.open_ledger import LedgerParts, open_ledger
from ledger.store.envelope import NewEvent, uuid7
from ledger.store.head import read_head_async
from projections.drift_history.model import DRIFT_HISTORY
from projections.projector_process import ProjectorProcess
from projections.rebuild import RebuildReport, rebuild_outdated, rebuild_read_models
from schema.events import PricesRecorded
from tests.bench.bench import Bench, Options, server
from tests.bench.cpu import Meter, used_s
from tests.bench.monitoring import ASSETS, FIRST, MARKET, OPS, caught_up, evening, fill, portfolios_of

YEAR = 250
# A log price keeps so much of its distance from its level until the next day, and moves by such a deviation.
KEPT, MOVED = 0.98, 0.018
# What a run records beside its transitions: its start and its end.
OF_A_RUN = 2


@dataclass(frozen=True)
class Period:
    """Some days that follow each other. Times are of processors, in microseconds for each portfolio and day."""

    days: int
    run_us: float
    projector_us: float
    server_us: float
    # Of runs and transitions, for each day: all events but the inputs.
    events: float
    seconds: float
    run_mb: float
    projector_mb: float

    @property
    def total_us(self) -> float:
        """The processor time of all processes."""
        return self.run_us + self.projector_us + self.server_us


@dataclass
class _Meter:
    """Processor time and memory of this process, of the projector's, which is its only child, and of the server."""

    server: int

    def used(self) -> tuple[float, float, float]:
        """Return the seconds of each."""
        return process_time(), sum(used_s(child.pid) for child in self._children()), used_s(self.server)

    def memory_mb(self) -> tuple[float, float]:
        """Return the resident memory of this process and of the projector's."""
        mine = psutil.Process().memory_info().rss
        return mine / 1e6, sum(child.memory_info().rss for child in self._children()) / 1e6

    @staticmethod
    def _children() -> list[psutil.Process]:
        return psutil.Process(os.getpid()).children()


async def run_days(bench: Bench, url: str, portfolios: int, days: int, period: int = YEAR) -> list[Period]:
    """Record and judge day by day. Return the figures of each period; the first day, which reads all, is in none."""
    assert bench.server is not None, "the server must be on this machine"
    rebuild_outdated(url)
    found: list[Period] = []
    async with open_ledger(LedgerParts(url, readers=4)) as ledger:
        drawn = random.Random(12)
        opening = {asset: drawn.uniform(5, 500) for asset in MARKET}
        await fill(ledger, portfolios_of(drawn, opening, portfolios, spread=0.0))
        projector, meter = ProjectorProcess(url), _Meter(bench.server)
        projector.start()
        before, began_s, head = meter.used(), perf_counter(), 0
        for number, prices in enumerate(_prices(drawn, opening, days + 1)):
            if (number - 1) % period == 0:
                await caught_up(ledger)
                before, began_s, head = meter.used(), perf_counter(), await _head(ledger)
            await ledger.portfolios.executor.writer.append([prices])
            _, report = await ledger.monitoring.run(OPS, evening(_day(number)))
            assert report.portfolios == portfolios
            if number % period == 0 and number:
                await caught_up(ledger)
                used = [after - then for after, then in zip(meter.used(), before, strict=True)]
                run_us, projector_us, server_us = (seconds / portfolios / period * 1e6 for seconds in used)
                added, took_s = (await _head(ledger) - head) / period - 1, perf_counter() - began_s
                found.append(Period(period, run_us, projector_us, server_us, added, took_s, *meter.memory_mb()))
                bench.say(_line(len(found), found[-1], portfolios))
        projector.stop()
    return found


def rebuild(bench: Bench, url: str) -> RebuildReport:
    """Build the drift history anew, and print what it takes."""
    meter = Meter(bench.server)
    with meter:
        [report] = rebuild_read_models(url, [DRIFT_HISTORY])
    bench.say(
        f"rebuild: {report.rows} rows, {report.differing} of them differ; {meter.seconds:.0f} s of processor time,"
        f" {meter.us(report.rows):.1f} us a row, {psutil.Process().memory_info().rss / 1e6:.0f} MB"
    )
    return report


def _line(number: int, one: Period, portfolios: int) -> str:
    rate = portfolios * one.days / one.seconds
    return (
        f"{number:3}  {one.total_us:6.1f} us (run {one.run_us:.1f}, projector {one.projector_us:.1f}, server"
        f" {one.server_us:.1f})  {rate:6.0f}/s by the clock  {one.events:5.1f} events a day"
        f"  run {one.run_mb:.0f} MB, projector {one.projector_mb:.0f} MB"
    )


async def _head(ledger: Ledger) -> int:
    head = await ledger.readers.run_short(read_head_async)
    return 0 if head is None else head.position


def _day(number: int) -> int:
    """Return how many days after the first one the working day with this number is."""
    return number // 5 * 7 + number % 5


def _prices(drawn: random.Random, opening: dict[str, float], days: int) -> Iterator[NewEvent]:
    away = dict.fromkeys(opening, 0.0)
    for number in range(days):
        day = (FIRST + timedelta(days=_day(number))).isoformat()
        found = {}
        for asset, level in opening.items():
            away[asset] = KEPT * away[asset] + drawn.gauss(0, MOVED)
            found[asset] = {"price": f"{level * math.exp(away[asset]):.4f}", "currency": "USD"}
        body = {"source": "close", "date": day, "file_sha256": "0" * 64, "prices": found}
        yield NewEvent(uuid7(), f"prices-{day}", PricesRecorded.model_validate(body), OPS)


def main() -> None:
    """Print a line for each year, and the last year beside the first one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portfolios", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=10 * YEAR)
    parser.add_argument("--period", type=int, default=YEAR, help="the days of a line")
    chosen = parser.parse_args()
    with server() as url:
        bench = Bench(url, Options(), Console())
        with bench.ledger() as one:
            found = uvloop.run(run_days(bench, one, chosen.portfolios, chosen.days, chosen.period))
            rebuild(bench, one)
    ratio = found[-1].total_us / found[0].total_us
    bench.say(f"{chosen.portfolios} portfolios of {ASSETS} assets, {len(found) * chosen.period} days")
    bench.say(f"processor time of a day of the last line: {ratio:.2f} of the first")


if __name__ == "__main__":
    main()
