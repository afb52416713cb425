"""Alerts that nobody acknowledges in time escalate once for each level, by the database's clock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from ledger.domain.monitoring.alerts import Alert
from ledger.domain.monitoring.escalation import escalations
from ledger.domain.monitoring.portfolio import Portfolio, Watched
from schema.events import AcknowledgeAlert
from schema.states import AlertState
from tests.ledger.domain.monitoring.portfolios import policy
from tests.ledger.service.test_clients import opened
from tests.ledger.service.watching import ANN, OPS, equity, run, watch
from tests.support import connect
from tests.tampering import tamper

ESCALATED = "SELECT stream, body::json->'data'->>'level' FROM events WHERE type = 'alert.escalated' ORDER BY position"
RAISED = "SELECT position FROM events WHERE type = 'alert.raised' ORDER BY position"
AT = datetime(2026, 3, 2, 8, tzinfo=UTC)
TEXT = policy(escalate_after_hours=[4, 24], quiet_hours={"start": "22:00", "end": "07:00", "zone": "Europe/Zurich"})


def portfolio(*alerts: Watched) -> Portfolio:
    """Return a portfolio with these alerts."""
    return Portfolio("p1", alerts={watched.number: watched for watched in alerts})


def watched(number: int = 1, rule: str = "drift", state: AlertState = AlertState.OPEN, **more: object) -> Watched:
    """Return an alert that was recorded at AT."""
    alert = Alert(1, state, 1, AT)
    return Watched(number, number, (rule, None), alert, recorded_at=AT, **more)  # type: ignore[arg-type]


def levels(state: Portfolio, hours: float) -> list[tuple[int, int]]:
    """Return alert and level of what is due so many hours after AT."""
    return [(event.alert, event.level) for _, event in escalations(state, TEXT, AT + timedelta(hours=hours))]


@pytest.mark.parametrize(
    ("state", "hours", "expected"),
    [
        (portfolio(watched()), 3.99, []),
        (portfolio(watched()), 4, [(1, 1)]),
        (portfolio(watched()), 24, [(1, 1), (1, 2)]),  # nobody looked for a day: both levels, in order
        (portfolio(watched(level=1)), 23.9, []),
        (portfolio(watched(level=1)), 24, [(1, 2)]),
        (portfolio(watched(level=2)), 1_000, []),
        (portfolio(watched()), 13.5, []),  # 22:30 in Zurich is quiet
        (portfolio(watched()), 22, [(1, 1)]),  # 07:00, the end of quiet hours
        (portfolio(watched(state=AlertState.ACKNOWLEDGED)), 1_000, []),
        (portfolio(watched(state=AlertState.CLOSED)), 1_000, []),
        (portfolio(watched(silenced_until=AT + timedelta(hours=10))), 9.9, []),
        (portfolio(watched(silenced_until=AT + timedelta(hours=10))), 10, [(1, 1)]),
        (portfolio(watched(), watched(2, "data")), 4, [(2, 1)]),  # unknown: only the data
        (portfolio(watched(), watched(2, "data", AlertState.CLOSED)), 4, [(1, 1)]),
    ],
)
def test_a_level_is_due_at_its_hour(state: Portfolio, hours: float, expected: list[tuple[int, int]]) -> None:
    """At the hour and not before; not acknowledged, silenced, in quiet hours or unknown."""
    assert levels(state, hours) == expected


@pytest.mark.tampers
def test_two_processes_escalate_each_level_once(database_url: str) -> None:
    """Many calls at once, and calls again after a restart, record one event for each level; none once it is taken."""

    async def work() -> None:
        async with opened(database_url, count=2) as ledgers:
            [ledger, other] = ledgers
            await watch(ledger, ["p1", "p2"], escalate_after_hours=[4, 24])
            await ledger.portfolios.record_prices(OPS, [equity("2026-03-02", "6")])
            await run(ledger, "2026-03-02")
            assert await ledger.escalations.escalate(OPS) == 0
            # As if the alerts had been recorded earlier: the test must not wait for hours.
            tamper(database_url, "UPDATE events SET recorded_at = recorded_at - interval '5 hours'")
            counts = await asyncio.gather(*(each.escalations.escalate(OPS) for each in [ledger, other] * 3))
            assert sum(counts) == 2
            assert list(connect(database_url).execute(ESCALATED)) == [("portfolio-p1", "1"), ("portfolio-p2", "1")]
            [(first,), _] = connect(database_url).execute(RAISED).fetchall()
            await ledger.portfolios.act(ANN, first, AcknowledgeAlert())
            tamper(database_url, "UPDATE events SET recorded_at = recorded_at - interval '20 hours'")
        async with opened(database_url) as [ledger]:
            assert await ledger.escalations.escalate(OPS) == 1
            assert await ledger.escalations.escalate(OPS) == 0
            assert list(connect(database_url).execute(ESCALATED))[2:] == [("portfolio-p2", "2")]

    asyncio.run(work())
