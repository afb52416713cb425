"""Row 12: portfolios of 20 assets: judged in one process; judged and recorded day by day, with the drift history."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from statistics import median
from time import perf_counter, process_time

import orjson
import uvloop

from ledger.domain.monitoring.policy import MonitoringText
from ledger.domain.monitoring.run import Run
from ledger.service.ledger import Ledger
from ledger.service.monitoring.inputs import Inputs, read_inputs
from ledger.service.open_ledger import LedgerParts, open_ledger
from ledger.store.envelope import Actor, NewEvent, uuid7
from projections.drift_history.model import DRIFT_HISTORY
from projections.projector_process import ProjectorProcess
from projections.reads import wait_until_caught_up
from projections.rebuild import rebuild_outdated
from schema.events import ClientRegistered, HoldingsRecorded, PortfolioDefined, PricesRecorded
from tests.bench.bench import Bench
from tests.bench.figures import Figure, Target

MOST_PORTFOLIOS = 1000
MOST_DAYS = 20
ASSETS = 20
MARKET = [f"A{number:03}" for number in range(100)]
# A Monday.
FIRST = date(2016, 1, 4)
AT_ONCE = 500
RECORDED_WHAT = "portfolio-days judged, recorded and in the drift history"
# The longest wait for the drift history, after the last run.
WAIT_S = 600.0
# Assets that lose half of their value for two days: about a third of the portfolios has one of them.
FALLING = 2
JUDGED = Target("at least", 20_000, of="figure")
RECORDED = Target("at least", 10_000, of="figure")
# Of processor time: other work on the machine changes it little.
LAST_DAYS = Target("at most", 1.2)
ANN, OPS = Actor("ann", "human", "advisor"), Actor("ops", "human", "admin")
POLICY = {
    "name": "drift",
    "version": "1",
    "band": {"absolute": "0.05", "relative": "0.25"},
    "unlisted": "0.02",
    "turnover": "0.1",
    "stale_after_days": 3,
}


def measure(bench: Bench) -> list[Figure]:
    """Two assets fall in the middle and raise alerts; before and after it few change."""
    portfolios = min(MOST_PORTFOLIOS, bench.options.events // 10)
    days = min(MOST_DAYS, 4 * bench.options.rounds)
    bench.say(f"row 12: {portfolios} portfolios over {days} days")
    with bench.ledger() as url:
        return uvloop.run(_measure(bench, url, portfolios, days))


async def _measure(bench: Bench, url: str, portfolios: int, days: int) -> list[Figure]:
    rebuild_outdated(url)
    async with open_ledger(LedgerParts(url, readers=4)) as ledger:
        await fill(ledger, _events(portfolios, days))
        projector = ProjectorProcess(url)
        projector.start()
        await caught_up(ledger)
        used_s, changes, position = [], 0, 0
        began_s = perf_counter()
        with bench.meter() as meter:
            for day in range(days):
                started_s = process_time()
                _, report = await ledger.monitoring.run(OPS, evening(day))
                used_s.append(process_time() - started_s)
                position = report.position
                changes += report.raised + report.closed + report.decisions
                assert report.portfolios == portfolios
                assert report.conditions["unknown"] == 0
            await caught_up(ledger)
            took_s = perf_counter() - began_s
        projector.stop()
        last = Run(days, evening(days - 1), position, historical=True)
        inputs = await ledger.readers.run(lambda conn: read_inputs(conn, last))
    judged_s = min(_judge(inputs) for _ in range(bench.options.rounds))
    count = portfolios * days
    detail = {"portfolios": portfolios, "days": days, "changes": changes, "seconds": took_s}
    # Without the first day, which reads everything, and the days in the middle, on which alerts change hands.
    early, late = median(used_s[1 : days // 2]), median(used_s[days // 2 + 3 :] or used_s[-1:])
    unit = "portfolio-days/s"
    return [
        _judged(portfolios, judged_s),
        Figure(12, RECORDED_WHAT, count / took_s, unit, target=RECORDED, detail=detail, cpu_us=meter.us(count)),
        Figure(12, "a run of the last days", late, "s", "of the first", early, late / early, LAST_DAYS),
    ]


async def caught_up(ledger: Ledger) -> None:
    """Wait until the drift history has all runs."""
    await ledger.readers.run(lambda conn: wait_until_caught_up(conn, DRIFT_HISTORY, patience_s=WAIT_S))


def _judged(portfolios: int, judged_s: float) -> Figure:
    what = "portfolio-days judged, on one core, with the leaf"
    per_s = portfolios / judged_s
    return Figure(12, what, per_s, "portfolio-days/s", target=JUDGED, cpu_us=judged_s / portfolios * 1e6)


def _judge(inputs: Inputs) -> float:
    """Return the processor time of one judgement of each portfolio. As from day to day, the plans alone are kept."""
    inputs = replace(inputs, conditions={name: replace(one) for name, one in inputs.conditions.items()})
    started = process_time()
    for name in inputs.names:
        inputs.leaf(name, inputs.judge(name))
    return process_time() - started


async def fill(ledger: Ledger, events: Iterable[NewEvent]) -> None:
    """Put the policy in force and record these inputs."""
    await ledger.portfolios.adopt_policy(OPS, "drift", MonitoringText.model_validate_json(orjson.dumps(POLICY)))
    left = iter(events)
    while chunk := list(islice(left, AT_ONCE)):
        await ledger.portfolios.executor.writer.append(chunk)


def portfolios_of(
    drawn: random.Random, opening: Mapping[str, float], portfolios: int, spread: float
) -> Iterator[NewEvent]:
    """Yield clients, each with a portfolio and holdings that are off their targets by up to `spread` of them."""
    for number in range(1, portfolios + 1):
        name = f"client {number}"
        yield NewEvent(uuid7(), f"client-{number}", ClientRegistered(client_id=name), ANN)
        mine = drawn.sample(MARKET, ASSETS)
        owner = {"client_id": name, "client": number}
        targets = dict.fromkeys(mine, "0.05")
        body = {**owner, "base": "USD", "targets": targets, "policy": "drift", "source": "house"}
        yield NewEvent(uuid7(), f"portfolio-p{number:04}", PortfolioDefined.model_validate(body), ANN)
        held = {asset: f"{1000 / opening[asset] * drawn.uniform(1 - spread, 1 + spread):.4f}" for asset in mine}
        body = {**owner, "as_of": FIRST.isoformat(), "positions": held}
        yield NewEvent(uuid7(), f"holdings-p{number:04}", HoldingsRecorded.model_validate(body), ANN)


def _events(portfolios: int, days: int) -> Iterator[NewEvent]:
    drawn = random.Random(12)
    opening = {asset: drawn.uniform(5, 500) for asset in MARKET}
    yield from portfolios_of(drawn, opening, portfolios, spread=0.1)
    for number in range(days):
        day = (FIRST + timedelta(days=number)).isoformat()
        fallen = days // 2 <= number < days // 2 + 2
        found = {
            asset: {"price": f"{price * drawn.uniform(0.99, 1.01) * _fall(place, fallen):.4f}", "currency": "USD"}
            for place, (asset, price) in enumerate(opening.items())
        }
        body = {"source": "close", "date": day, "file_sha256": "0" * 64, "prices": found}
        yield NewEvent(uuid7(), f"prices-{day}", PricesRecorded.model_validate(body), OPS)


def _fall(place: int, fallen: bool) -> float:
    return 0.5 if fallen and place < FALLING else 1.0


def evening(day: int) -> datetime:
    """Return the time that the run of a day judges."""
    return datetime.combine(FIRST + timedelta(days=day), datetime.min.time(), UTC).replace(hour=22)
