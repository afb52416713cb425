"""Whatever people do between runs: live is rebuilt is as of is replayed, and all of it is what a twin says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from fractions import Fraction
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from ledger.database import Connection
from ledger.errors import InvalidEvent, Refused
from ledger.service.ledger import Ledger
from projections.compare import check
from projections.drift_history.model import DRIFT_HISTORY
from projections.engine import step
from projections.erased import read_models_folded_again
from projections.monitoring_runs.model import MONITORING_RUNS
from projections.notifications.model import NOTIFICATIONS
from projections.portfolio_alerts.model import PORTFOLIO_ALERTS
from projections.read_model import UP_TO
from projections.rebuild import rebuild_read_models
from schema.events import AcknowledgeAlert, CloseAlert, DefinePortfolio, RecordHoldings, SilenceAlert
from tests.conftest import Template, ledger_copy
from tests.ledger.service.test_clients import opened
from tests.ledger.service.watching import ANN, OPS, prices, run, text, watch
from tests.model.monitoring_twin import Twin, TwinAlert, TwinPortfolio
from tests.support import connect

NAMES = ("p1", "p2")
DAYS = [f"2026-03-{day:02}" for day in range(2, 8)]
EVENTS = """
    SELECT substr(stream, 11), type, body::json->'data' FROM events
    WHERE stream LIKE 'portfolio-%' AND body::json->'data'->>'run' IS NOT NULL ORDER BY position
"""
RAISED = "SELECT position FROM events WHERE stream = %s AND type = 'alert.raised' ORDER BY position"
STATES = "SELECT portfolio, rule, state FROM portfolio_alerts ORDER BY portfolio, alert"
ROWS = "SELECT run, portfolio, condition, assets, agrees FROM drift_history ORDER BY id"
OF_CLIENT = """
    DELETE FROM sealed_fields s USING events e
    WHERE e.position = s.position AND e.stream = ANY (%s)
"""
MODELS = [DRIFT_HISTORY, PORTFOLIO_ALERTS, NOTIFICATIONS, MONITORING_RUNS]
ACTS: dict[str, AcknowledgeAlert | SilenceAlert | CloseAlert] = {
    "acknowledge": AcknowledgeAlert(),
    "silence": SilenceAlert(until="2999-01-01T00:00:00Z", reason="a holiday"),
    "close": CloseAlert(reason="handled", rationale="-"),
}


class Monitoring(RuleBasedStateMachine):
    """Drives a ledger of its own and the twin side by side."""

    server: ClassVar[str]
    template: ClassVar[Template]

    def __init__(self) -> None:
        super().__init__()
        self.stack, self.runner = ExitStack(), asyncio.Runner()
        self.url = self.stack.enter_context(ledger_copy(self.server, self.template, verify=False))
        self.opened = AsyncExitStack()
        self.ledger: Ledger = self.runner.run(self.opened.enter_async_context(opened(self.url)))[0]
        self.runner.run(watch(self.ledger, NAMES))
        self.twin = Twin({name: TwinPortfolio(Fraction(6, 10), {"2026-03-01": 1}) for name in NAMES})

    def refused(self, code: str, act: Callable[[], Awaitable[Any]]) -> None:
        """Assert that an act is refused by this name, and records nothing."""
        before = self.head()
        with pytest.raises((Refused, InvalidEvent)) as error:
            self.runner.run(_done(act))
        assert getattr(error.value, "code", None) == code
        assert self.head() == before

    def head(self) -> int:
        """Return the last position."""
        with connect(self.url) as conn:
            [(position,)] = conn.execute("SELECT position FROM head").fetchall()
        return int(position)

    @rule(day=st.sampled_from(DAYS), equity=st.none() | st.integers(40, 80))
    def price(self, day: str, equity: int | None) -> None:
        """Record prices of a day, or correct them: BD at 40, and EQ, or EQ not at all."""
        amounts = {"BD": 40} if equity is None else {"BD": 40, "EQ": equity}
        self.runner.run(
            _done(
                lambda: self.ledger.portfolios.record_prices(
                    OPS, [prices(day, **{asset: str(amount) for asset, amount in amounts.items()})]
                )
            )
        )
        self.twin.prices.setdefault(day, {}).update(amounts)

    @rule(day=st.sampled_from(DAYS), points=st.integers(50, 70))
    def price_and_run(self, day: str, points: int) -> None:
        """Record prices at which a portfolio of one each is near its edges, and judge."""
        self.twin.prices.setdefault(day, {}).update({"EQ": points, "BD": 100 - points})
        new = prices(day, EQ=str(points), BD=str(100 - points))
        self.runner.run(_done(lambda: self.ledger.portfolios.record_prices(OPS, [new])))
        self.judge(day)

    @rule(day=st.sampled_from(DAYS))
    def judge(self, day: str) -> None:
        """Judge all portfolios. A day before the one of the last run is refused."""
        if self.twin.runs and self.twin.runs[-1][0] > day:
            self.refused("run-out-of-order", lambda: run(self.ledger, day))
            return
        before = len(self.twin.events)
        report = self.runner.run(run(self.ledger, day))
        found = self.twin.run(day)
        conditions = Counter(one.condition for one in found.values())
        assert report.conditions == {name: conditions[name] for name in ("ok", "watch", "breached", "unknown")}
        words = Counter(each.split()[0] for _, each in self.twin.events[before:])
        assert (report.raised, report.portfolios) == (words["raised"], len(NAMES))

    @rule(name=st.sampled_from(NAMES), day=st.sampled_from(DAYS), quantity=st.integers(1, 2))
    def hold(self, name: str, day: str, quantity: int) -> None:
        """Record holdings. Those of a day before the newest are refused."""
        one = self.twin.portfolios[name]
        if one.erased:
            return
        body = RecordHoldings(as_of=day, positions={"EQ": str(quantity), "BD": "1"})
        if day < max(one.held):
            self.refused("holdings-out-of-order", lambda: self.ledger.portfolios.record_holdings(ANN, name, body))
            return
        self.runner.run(_done(lambda: self.ledger.portfolios.record_holdings(ANN, name, body)))
        one.held[day] = quantity

    @rule(name=st.sampled_from(NAMES), tenths=st.integers(5, 7))
    def aim(self, name: str, tenths: int) -> None:
        """Give a portfolio other targets."""
        one = self.twin.portfolios[name]
        if one.erased:
            return
        body = {"client_id": f"client of {name}", "base": "USD", "targets": {"EQ": f"0.{tenths}"}, "rest": "BD"}
        new = DefinePortfolio.model_validate({**body, "policy": "drift", "source": "house"})
        self.runner.run(_done(lambda: self.ledger.portfolios.define(ANN, name, new)))
        one.target = Fraction(tenths, 10)

    @rule(band=st.sampled_from(["0.05", "0.08"]))
    def adopt(self, band: str) -> None:
        """Put another width of the bands in force."""
        new = text(band={"absolute": band})
        self.runner.run(_done(lambda: self.ledger.portfolios.adopt_policy(OPS, "drift", new)))
        self.twin.band = band

    @rule(name=st.sampled_from(NAMES), act=st.sampled_from(["acknowledge", "silence", "close"]), data=st.data())
    def act(self, name: str, act: str, data: st.DataObject) -> None:
        """Act on an alert. What is illegal is refused by name."""
        one = self.twin.portfolios[name]
        if not one.alerts:
            return
        place = data.draw(st.integers(0, len(one.alerts) - 1))
        alert = one.alerts[place]
        with connect(self.url) as conn:
            position = conn.execute(RAISED, [f"portfolio-{name}"]).fetchall()[place][0]
        body = ACTS[act]
        code = _refusal(alert, act)
        if code is not None:
            self.refused(code, lambda: self.ledger.portfolios.act(ANN, position, body))
            return
        self.runner.run(_done(lambda: self.ledger.portfolios.act(ANN, position, body)))
        match act:
            case "acknowledge":
                alert.state = "acknowledged"
            case "silence":
                alert.silenced = True
            case _:
                alert.state, alert.waits = "closed", False

    @rule(name=st.sampled_from(NAMES), really=st.integers(0, 4))
    def erase(self, name: str, really: int) -> None:
        """Erase a portfolio, now and then, as the erasure of its client does."""
        if really or self.twin.portfolios[name].erased:
            return
        streams = [f"portfolio-{name}", f"holdings-{name}"]
        with connect(self.url) as conn:
            _catch_up(conn)
            with conn.transaction(), read_models_folded_again(conn, streams):
                conn.execute("ALTER TABLE sealed_fields DISABLE TRIGGER ALL")
                conn.execute(OF_CLIENT, [streams])
        self.twin.portfolios[name].erased = True

    def teardown(self) -> None:
        """Compare everything that is derived, in every way to derive it, with the twin."""
        try:
            self._compare()
        finally:
            self.runner.run(self.opened.aclose())
            self.runner.close()
            self.stack.close()

    def _compare(self) -> None:
        with connect(self.url) as conn:
            recorded = [(name, _words(kind, data)) for name, kind, data in conn.execute(EVENTS)]
            assert recorded == self.twin.events
            _catch_up(conn)
            live = conn.execute(ROWS).fetchall()
            assert [(number, name, condition, _drifts(assets)) for number, name, condition, assets, _ in live] == [
                (number, name, found[name].condition, found[name].drifts)
                for number, (_, found) in enumerate(self.twin.runs, 1)
                for name in NAMES
                if not self.twin.portfolios[name].erased
            ]
            assert all(agrees for *_, agrees in live)
            assert conn.execute(STATES).fetchall() == [
                (name, alert.rule, alert.state) for name in NAMES for alert in self.twin.portfolios[name].alerts
            ]
        assert all(report.differing == 0 for report in rebuild_read_models(self.url, MODELS))
        with connect(self.url) as conn:
            assert conn.execute(ROWS).fetchall() == live
        with connect(self.url, "verifier") as conn:
            assert check(conn, DRIFT_HISTORY).differences == ()
        for number, (day, _) in enumerate(self.twin.runs, 1):
            self._replayed(number, day, len([row for row in live if row[0] <= number]))

    def _replayed(self, number: int, day: str, rows: int) -> None:
        replayed = self.runner.run(self.ledger.monitoring.replay(number))
        erased = [name for name in NAMES if self.twin.portfolios[name].erased]
        assert (replayed.agrees, replayed.given) == (True, erased)
        with connect(self.url, "verifier") as conn:
            [(completed,)] = conn.execute(
                "SELECT position FROM events WHERE stream = %s AND version = 2", [f"monitoring-{number}"]
            ).fetchall()
            assert len(conn.execute(DRIFT_HISTORY.rows(UP_TO), {"upto": completed}).fetchall()) == rows
        would = self.runner.run(self.ledger.monitoring.would_be(number))
        now = Counter(self.twin.judge(name, day).condition for name in NAMES)
        assert would.would_be == {name: now[name] for name in ("ok", "watch", "breached", "unknown")}


def _catch_up(conn: Connection) -> None:
    for read_model in MODELS:
        while step(conn, read_model) is not None:
            pass


async def _done(act: Callable[[], Awaitable[Any]]) -> Any:
    return await act()


def _refusal(alert: TwinAlert, act: str) -> str | None:
    if alert.state == "closed":
        return "alert-closed"
    return "alert-acknowledged" if act == "acknowledge" and alert.state == "acknowledged" else None


def _words(kind: str, data: dict[str, Any]) -> str:
    match kind:
        case "alert.raised":
            return f"raised {data['rule']}"
        case "alert.closed":
            return f"closed {data['reason']}"
    return f"{data['reason']} {' '.join(data['receivers']) or 'nobody'}"


def _drifts(assets: list[list[str]]) -> dict[str, str]:
    return {name: drift for name, _, drift, *_ in assets}


def explore(server: str, template: Template, examples: int, steps: int) -> None:
    """Run the machine on ledgers of its own."""
    profile = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    machine = type("MonitoringAt", (Monitoring,), {"server": server, "template": template})
    run_state_machine_as_test(machine, settings=profile)


def test_monitoring_is_what_a_twin_says(server_url: str, template_database: Template) -> None:
    """A few histories: events, alerts, drift and replays are what a twin with fractions says, however they are made."""
    explore(server_url, template_database, 2, 12)


@pytest.mark.slow
def test_monitoring_is_what_a_twin_says_at_length(server_url: str, template_database: Template) -> None:
    """More and longer histories."""
    explore(server_url, template_database, 15, 30)
