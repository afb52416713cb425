"""Losses of a reporting period, Article 62(1): each threshold once, from the value at its start; a twin agrees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.history import RecordedEvent
from ledger.domain.monitoring.depreciation import step
from ledger.domain.monitoring.flows import Flows
from ledger.domain.monitoring.portfolio import fold
from ledger.domain.monitoring.run import Conditions, Run, transitions
from ledger.domain.monitoring.triggers import Facts
from ledger.domain.monitoring.valuation import Rates
from schema.events import AlertRaised
from tests.ledger.domain.monitoring.portfolios import judged, policy
from tests.ledger.domain.monitoring.scenes import flow, recorded, sealed

TEXT = policy(depreciation_notices=True)
CONDITIONS = Conditions(TEXT, "0" * 64, {}, Rates("USD"))
START = datetime(2026, 3, 2, 18, tzinfo=UTC)
HUNDRED = flow("2026-03-01", "period-start", "100000")


def notices(values: list[str], *flows: RecordedEvent) -> list[list[str]]:
    """Judge a portfolio of these values on days that follow each other; return what is raised on each."""
    history: list[RecordedEvent] = []
    raised = []
    for number, value in enumerate(values, 1):
        now = START + timedelta(days=number)
        facts = Facts(Flows.of(flows, now.date().isoformat(), "2026-12-31", "USD"))
        judgement = judged(f"A {value}x1", "A 1", TEXT)
        run = Run(number, now, number, historical=False)
        events = [one.event for one in transitions(fold("p", history), judgement, CONDITIONS, run, facts)]
        found = [one for one in events if isinstance(one, AlertRaised) and one.rule == "depreciation"]
        raised.append([one.subject or "" for one in found])
        history += recorded(*found, after=len(history))
    return raised


def test_each_threshold_is_told_once_in_a_period() -> None:
    """The life A4: crossed again it is not told again; a fall over two steps is one notice; a period begins anew."""
    values = ["90000.01", "90000", "92000", "89000", "79999", "65000", "95000", "60000"]
    found = notices(values, HUNDRED)
    assert found == [[], ["2026-03-01/10"], [], [], ["2026-03-01/20"], ["2026-03-01/30"], [], ["2026-03-01/40"]]
    assert notices(["75000", "85000"], HUNDRED) == [["2026-03-01/20"], []]
    period = flow("2026-03-04", "period-start", "70000", "next")
    assert notices(["65000", "63000"], HUNDRED, period) == [["2026-03-01/30"], ["2026-03-04/10"]]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("cash-in", "108000", ["2026-03-01/10"]),  # measured as 88,000
        ("cash-in", "110000.01", []),
        ("securities-in", "108000", ["2026-03-01/10"]),  # of 120,000
        ("securities-in", "108000.01", []),
        ("invested-in", "108000", ["2026-03-01/10"]),
        ("cash-out", "72000", ["2026-03-01/10"]),  # of 80,000
        ("cash-out", "72000.01", []),
    ],
)
def test_flows_of_the_period_are_no_loss_and_no_gain(kind: str, value: str, expected: list[str]) -> None:
    """Cash that came in is taken off the value, what was invested is added to the start, what went out taken off it."""
    assert notices([value], HUNDRED, flow("2026-03-02", kind, "20000", "added")) == [expected]


def test_what_is_unknown_or_switched_off_gives_no_notice() -> None:
    """Erased amounts, a currency without a rate, no period, or a policy without notices."""
    erased = sealed(HUNDRED, None)
    assert notices(["50000"], erased) == notices(["50000"]) == [[]]
    assert notices(["50000"], flow("2026-03-01", "period-start", "100000", currency="JPY")) == [[]]
    off = Conditions(policy(), "0" * 64, {}, Rates("USD"))
    run = Run(1, START, 1, historical=False)
    facts = Facts(Flows.of([HUNDRED], "2026-03-02", "2026-03-02", "USD"))
    assert transitions(fold("p", []), judged("A 50000x1", "A 1", policy()), off, run, facts) == []


@given(base=st.integers(1, 10**9), value=st.integers(1, 10**9), cash=st.integers(0, 10**6))
def test_a_twin_that_counts_tenths_agrees(base: int, value: int, cash: int) -> None:
    """The number of thresholds at or above the value, counted one by one."""
    reached = 0
    while Fraction(value - cash) <= base * Fraction(10 - reached - 1, 10):
        reached += 1
    assert step(Fraction(base), Fraction(value), Fraction(cash)) == reached
