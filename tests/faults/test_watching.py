"""Monitoring whose processes are killed at every step, that runs twice at once, and whose machine has a wrong clock."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import InvalidEvent, InvalidLines
from ledger.service import authority
from ledger.service.authority import Authority
from ledger.service.ledger import Ledger
from ledger.service.monitoring.bulk_holdings import HoldingsLine, ValuationLine
from ledger.service.monitoring.corporate_actions import ActionLine
from ledger.service.monitoring.flows import FlowLine
from schema.events import (
    DefinePortfolio,
    RecordAction,
    RecordFlow,
    RecordHoldings,
    RecordValuation,
    SilenceAlert,
)
from tests.api.jobs.running import Work, in_process
from tests.api.program import serving
from tests.faults.watching import NAMES, VALUATIONS, escalate, judge, price, scene, value
from tests.ledger.service.test_clients import opened
from tests.ledger.service.watching import ANN, OPS, prices, watch
from tests.support import connect, eventually
from tests.tampering import tamper

KILLED = -signal.SIGKILL
# More than any command here makes.
MOST_APPENDS = 20
EVENTS = "SELECT stream, type, body::json->'data' FROM events WHERE position > %s ORDER BY position"
HEAD = "SELECT position FROM head"
LEVELS = """
    SELECT stream, array_agg((body::json->'data'->>'level')::int ORDER BY version) FROM events
    WHERE type = 'alert.escalated' GROUP BY stream ORDER BY stream
"""
AN_HOUR_AGO = "UPDATE events SET recorded_at = recorded_at - interval '1 hour'"
LEASES_END = "UPDATE jobs SET lease_until = now() WHERE kind = 'escalate-alerts' AND state = 'running'"
DONE = "SELECT count(*) FROM jobs WHERE kind = 'escalate-alerts' AND state = 'done'"
# A process of `serve` that dies after the first alert that it escalates.
DIES = """
import os, signal
from ledger.store.writer import Writer
append = Writer.append_lines
async def appends(writer, lines):
    receipts = await append(writer, lines)
    if any(line.type == "alert.escalated" for line in lines):
        os.kill(os.getpid(), signal.SIGKILL)
    return receipts
Writer.append_lines = appends
"""


def in_ledger(url: str, work: Callable[[Ledger], Any]) -> Any:
    """Do something in a ledger that is opened for it."""

    async def run() -> Any:
        async with opened(url) as [ledger]:
            return await work(ledger)

    return asyncio.run(run())


def events_after(url: str, position: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Return stream, type and data of the events after a position."""
    with connect(url) as conn:
        return conn.execute(EVENTS, [position]).fetchall()


def head(url: str) -> int:
    """Return the newest position."""
    with connect(url) as conn:
        row = conn.execute(HEAD).fetchone()
    assert row is not None
    return int(row[0])


def killed_at_each_step(work: Work, url: str, folder: Path, prepare: Callable[[], object]) -> Iterator[int]:
    """Kill the process before each append and after it; then two others do the same work at once.

    Yields the position before, each time, and last of all that before a process that no step has killed.
    """
    steps = (f"{place} {number}" for number in range(1, MOST_APPENDS) for place in ("before", "after"))
    for step in steps:
        prepare()
        before = head(url)
        code = in_process(work, url, step, folder)
        assert code in {KILLED, 0}
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(lambda _: in_process(work, url, "", folder), range(2))) == [0, 0]
        yield before
        if code == 0:
            return
    pytest.fail("it appends without an end")


@pytest.mark.slow
def test_a_run_is_killed_at_every_step(database_url: str, tmp_path: Path) -> None:
    """Each alert, decision, request for advice and message is on record once, and each run computes again."""

    def breach() -> None:
        async def work(ledger: Ledger) -> None:
            await price(ledger, "60")
            await ledger.monitoring.run(OPS, datetime.now(UTC))  # closes the alerts of the round before
            await price(ledger, "70")

        in_ledger(database_url, work)

    in_ledger(database_url, scene)
    rounds = 0
    for rounds, before in enumerate(killed_at_each_step(judge, database_url, tmp_path, breach), 1):
        found = events_after(database_url, before)
        counts = Counter((stream, kind) for stream, kind, _ in found if stream.startswith("portfolio-"))
        kinds = ("alert.raised", "notification.decided", "rebalancing.decided")
        assert counts == {(f"portfolio-{name}", kind): 1 for name in NAMES for kind in kinds}, rounds
        told = [data["decisions"] for _, kind, data in found if kind == "delivery.planned"]
        assert [len(decisions) for decisions in told] == [len(NAMES)], rounds
        outcomes = {data["outcome"] for _, kind, data in found if kind == "rebalancing.decided"}
        assert outcomes == ({"opened"} if rounds == 1 else {"joined"})
        started = [stream for stream, kind, _ in found if kind == "monitoring.run-started"]
        assert started == [stream for stream, kind, _ in found if kind == "monitoring.run-completed"]
        assert len(started) <= 3
    assert rounds > 2 * 4  # started, alerts, a decision about advice for each portfolio, completed: before and after

    async def replayed(ledger: Ledger) -> None:
        for number in range(1, (await newest(ledger)) + 1):
            assert (await ledger.monitoring.replay(number)).agrees

    in_ledger(database_url, replayed)


async def newest(ledger: Ledger) -> int:
    """Return the number of the newest run."""
    run = await ledger.monitoring.newest()
    assert run is not None
    return run.number


def watch_overdue(url: str) -> None:
    """Raise an alert for each portfolio."""

    async def work(ledger: Ledger) -> None:
        await scene(ledger)
        await price(ledger, "70")
        await ledger.monitoring.run(OPS, datetime.now(UTC))

    in_ledger(url, work)


@pytest.mark.slow
@pytest.mark.tampers
def test_an_escalation_is_killed_at_every_step(database_url: str, tmp_path: Path) -> None:
    """Each alert has each level once, in order, by the clock of the database alone."""
    watch_overdue(database_url)
    steps = killed_at_each_step(escalate, database_url, tmp_path, lambda: tamper(database_url, AN_HOUR_AGO))
    rounds = 0
    for rounds, _ in enumerate(steps, 1):
        with connect(database_url) as conn:
            levels = list(range(1, rounds + 1))
            assert conn.execute(LEVELS).fetchall() == [(f"portfolio-{name}", levels) for name in NAMES]
    assert rounds == 2 * len(NAMES) + 1


@pytest.mark.slow
@pytest.mark.tampers
def test_of_two_servers_one_dies_while_it_escalates(database_url: str) -> None:
    """The other takes over its job: no level is missed, and none is recorded twice."""
    watch_overdue(database_url)
    tamper(database_url, AN_HOUR_AGO)
    options = ("--database-url", database_url, "--no-worker")
    with connect(database_url) as conn:
        with serving(*options, before=DIES) as dying:
            eventually("it dies", lambda: dying.process.poll() == KILLED, within_s=60)
        assert [levels for _, levels in conn.execute(LEVELS)] == [[1]]
        with serving(*options), serving(*options):

            def over() -> bool:
                conn.execute(LEASES_END)
                return conn.execute(DONE).fetchone() != (0,)

            eventually("the job is done", over, within_s=60)
        assert conn.execute(LEVELS).fetchall() == [(f"portfolio-{name}", [1]) for name in NAMES]


def test_valuations_are_on_record_whole_or_not_at_all(database_url: str, tmp_path: Path) -> None:
    """Killed before or after the append, and sent again by two at once: one event each, and one for the day."""
    days = itertools.count(1)
    in_ledger(database_url, lambda ledger: watch(ledger, NAMES))

    def write() -> None:
        day = f"2026-03-{next(days):02}"
        body = {"as_of": day, "source": "bank", "currency": "USD", "values": {"EQ": "6", "BD": "4"}}
        lines = [json.dumps({"portfolio": name, **body}) for name in NAMES]
        (tmp_path / VALUATIONS).write_text("\n".join(lines))

    rounds = 0
    for rounds, before in enumerate(killed_at_each_step(value, database_url, tmp_path, write), 1):
        streams = sorted(stream for stream, _, _ in events_after(database_url, before))
        assert streams == ["valuation-p1", "valuation-p2", f"valuations-2026-03-{rounds:02}"]
    assert rounds == 3


@pytest.mark.parametrize("hours", [-24, 24])
def test_a_wrong_clock_of_the_machine_changes_no_outcome(
    database_url: str, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """A run of now is none of the past, one of the future is refused; silences and escalations count real hours."""
    monkeypatch.setattr(Authority.__init__, "__defaults__", (lambda: authority.utc_now() + timedelta(hours=hours),))

    async def work(ledger: Ledger) -> None:
        now = datetime.now(UTC)
        report = (await ledger.monitoring.run(OPS, now))[1]
        assert (report.historical, report.raised) == (False, len(NAMES))
        with pytest.raises(InvalidEvent):
            await ledger.monitoring.run(OPS, now + timedelta(hours=1))
        assert await ledger.escalations.escalate(OPS) == 0
        alert = next(iter((await ledger.portfolios.state("p1")).alerts.values())).position
        for ahead, is_taken in ((-1, False), (1, True)):
            until = SilenceAlert(until=f"{now + timedelta(hours=ahead):%Y-%m-%dT%H:%M:%SZ}", reason="away")
            if is_taken:
                await ledger.portfolios.act(ANN, alert, until)
            else:
                with pytest.raises(InvalidEvent):
                    await ledger.portfolios.act(ANN, alert, until)

    with monkeypatch.context() as right:
        right.setattr(Authority.__init__, "__defaults__", (authority.utc_now,))
        in_ledger(database_url, scene)
        in_ledger(database_url, lambda ledger: price(ledger, "70"))
    in_ledger(database_url, work)


@pytest.mark.parametrize("hours", [-96, 96])
def test_a_wrong_clock_of_the_machine_refuses_no_day_and_lets_none_of_the_future_in(
    database_url: str, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Each kind of input is taken for the day of the database's clock, and refused, by its field, for three later."""
    now = datetime.now(UTC)

    async def record(ledger: Ledger, day: str, far: str) -> list[str]:
        defined = {
            "client_id": "client of p1",
            "base": "USD",
            "targets": {"EQ": "0.6"},
            "rest": "BD",
            "policy": "drift",
        }
        held = RecordHoldings(as_of=day, positions={"EQ": "2"})
        flown = {"reference": day, "date": day, "kind": "cash-in", "amount": "1", "currency": "USD"}
        valued = {"as_of": day, "source": "bank", "currency": "USD", "values": {"EQ": "1"}}
        assessed = DefinePortfolio.model_validate({**defined, "source": "house", "assessed_on": day})
        split = RecordAction.model_validate({"asset": "EQ", "date": far, "action": "split", "ratio": "2:1"})
        flow, line = RecordFlow.model_validate(flown), RecordValuation.model_validate(valued)
        refused = []
        for work in (
            ledger.portfolios.define(ANN, "p1", assessed),
            ledger.portfolios.record_holdings(ANN, "p1", held),
            ledger.holdings.record(ANN, [HoldingsLine(1, "p2", held)]),
            ledger.portfolios.record_prices(OPS, [prices(day, EQ="1")]),
            ledger.flows.record_one(ANN, "p1", flow),
            ledger.flows.record(ANN, [FlowLine(1, "p2", flow)]),
            ledger.valuations.record(ANN, [ValuationLine(1, "p1", line)]),
            ledger.corporate_actions.record(OPS, [ActionLine(1, split)]),
        ):
            try:
                await work
            except InvalidEvent as error:
                refused.append(error.field)
            except InvalidLines as error:
                refused += [field for field, _ in error.errors]
        return refused

    in_ledger(database_url, scene)
    monkeypatch.setattr(Authority.__init__, "__defaults__", (lambda: authority.utc_now() + timedelta(hours=hours),))
    before = head(database_url)
    later, far = (f"{now + timedelta(days=days):%Y-%m-%d}" for days in (3, 368))
    fields = ["assessed_on", "as_of", "line 1: as_of", "date", "date", "line 1: date", "line 1: as_of", "line 1: date"]
    assert in_ledger(database_url, lambda ledger: record(ledger, later, far)) == fields
    assert head(database_url) == before
    today, near = (f"{now + timedelta(days=days):%Y-%m-%d}" for days in (0, 364))
    assert in_ledger(database_url, lambda ledger: record(ledger, today, near)) == []
