"""Flows, assessments of suitability and newer advice: each opens one alert when it is met, and not before."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.history import RecordedEvent
from ledger.domain.monitoring.drift import Judgement
from ledger.domain.monitoring.flows import Flows, Unread, check_flow, is_large
from ledger.domain.monitoring.policy import MonitoringText
from ledger.domain.monitoring.portfolio import fold
from ledger.domain.monitoring.triggers import Facts, triggers
from ledger.domain.monitoring.valuation import Rates, Unknown
from ledger.errors import InvalidEvent
from schema.events import AlertClosed, AlertRaised, PortfolioDefined, RecordFlow
from tests.ledger.domain.monitoring.portfolios import judged, policy
from tests.ledger.domain.monitoring.scenes import flow, recorded
from tests.ledger.domain.monitoring.scenes import flow as flow_of

TODAY = date(2026, 3, 10)
RATES = Rates("USD")
UNKNOWN = Judgement("unknown", (Unknown("no-price", "A"),))


def large(text: MonitoringText, value: str, *events: RecordedEvent, held_on: str = "2026-03-10") -> bool | None:
    """Return whether the flows are large for a portfolio of this value."""
    flows = Flows.of(events, TODAY.isoformat(), held_on, "USD")
    return is_large(flows, judged(f"A {value}x1", "A 1", text), text, RATES, TODAY, 0)


def test_a_flow_is_measured_by_the_value_before_it() -> None:
    """100,000 and a deposit of 20,000: a share of 0.2 is met at its edge, whether the holdings have it or not."""
    deposit = flow("2026-03-10", "cash-in", "20000")
    for share, expected in (("0.2", True), ("0.200000000001", False)):
        text = policy(flow=share)
        assert large(text, "120000", deposit) is expected
        assert large(text, "100000", deposit, held_on="2026-03-09") is expected
    assert large(policy(flow="0.2"), "80000", flow("2026-03-10", "cash-out", "20000")) is True
    assert large(policy(flow="0.2"), "20000", deposit) is True  # the first money of an empty portfolio


def test_flows_of_some_days_count_together_and_corrections_count() -> None:
    """Ten parts are one flow, what came in and went out is none; an older one, or one that was taken back, is none."""
    text = policy(flow="0.2", flow_days=5)
    parts_of = [flow("2026-03-07", "cash-in", "2000", f"part {number}", number) for number in range(1, 11)]
    assert large(text, "120000", *parts_of) is True
    assert large(text, "118000", *parts_of[1:]) is False
    out = flow("2026-03-08", "cash-out", "2000", "out", 20)
    assert large(text, "118000", *parts_of, out) is False
    assert large(text, "120000", flow("2026-03-05", "cash-in", "20000")) is False
    back = flow("2026-03-10", "cash-in", "20000", position=2, withdrawn=True)
    assert large(text, "100000", flow("2026-03-10", "cash-in", "20000"), back) is False
    less = flow("2026-03-10", "cash-in", "100", position=2)
    assert large(text, "100100", flow("2026-03-10", "cash-in", "20000"), less) is False
    assert large(text, "1", flow("2026-03-10", "cash-in", "5", currency="JPY")) is None


@given(
    amounts=st.lists(st.tuples(st.integers(1, 12), st.integers(-500, 500).filter(bool)), max_size=6),
    value=st.integers(1, 3000),
    percent=st.integers(1, 100),
    days=st.integers(1, 10),
    held=st.integers(1, 12),
)
def test_a_twin_with_fractions_agrees(
    amounts: list[tuple[int, int]], value: int, percent: int, days: int, held: int
) -> None:
    """For any flows: the quotient of their sum and of the value without them."""
    text = policy(flow=f"{Decimal(percent) / 100:f}", flow_days=days)
    events = [
        flow(f"2026-03-{day:02}", "cash-in" if amount > 0 else "securities-out", str(abs(amount)), f"f{number}", number)
        for number, (day, amount) in enumerate(amounts, 1)
    ]
    found = large(text, str(value), *events, held_on=f"2026-03-{held:02}")
    seen = [(day, amount) for day, amount in amounts if 10 - days < day <= 10]
    total = sum(amount for _, amount in seen)
    before = value - sum(amount for day, amount in seen if day <= held)
    met = total != 0 and (before <= 0 or Fraction(abs(total), before) >= Fraction(percent, 100))
    assert found is met


def findings(history: list[RecordedEvent], text: MonitoringText, now: datetime, **facts: Any) -> dict[str, str]:
    """Return what the triggers find about a portfolio with these events, by rule."""
    state = fold("p", history)
    judgement = facts.pop("judgement", judged("A 100x1", "A 1", text))
    return {key[0]: found.condition for key, found in triggers(state, judgement, text, RATES, Facts(**facts), now)}


def test_a_flow_that_was_handled_is_not_raised_again_and_an_unknown_value_decides_nothing() -> None:
    """Flows that were recorded before the alert was closed are over; one that comes later is another reason."""
    text = policy(flow="0.2")
    now = datetime(2026, 3, 10, 18, tzinfo=UTC)
    raised = AlertRaised(alert=1, rule="flow", policy="0" * 64, run=1, as_of="2026-03-10T18:00:00Z")
    closed = AlertClosed(alert=1, reason="handled", rationale="invested")
    deposit, later = flow("2026-03-10", "cash-in", "20", position=3), flow("2026-03-10", "cash-in", "30", "b", 20)
    history = recorded(raised, closed, position=9)
    flows = Flows.of([deposit], "2026-03-10", "2026-03-10", "USD")
    assert findings([], text, now, flows=flows)["flow"] == "breached"
    assert findings([], text, now, flows=flows, judgement=UNKNOWN)["flow"] == "unknown"
    assert findings(history, text, now, flows=flows)["flow"] == "ok"
    both = Flows.of([deposit, later], "2026-03-10", "2026-03-10", "USD")
    assert findings(history, text, now, flows=both)["flow"] == "breached"
    assert findings([], policy(), now, flows=flows)["flow"] == "ok"


@pytest.mark.parametrize(
    ("unread", "members", "flow", "data"),
    [
        (Unread(2, "2026-03-10"), {"flow": "0.2"}, "unknown", "breached"),
        (Unread(2, "2026-03-06"), {"flow": "0.2", "flow_days": 5}, "unknown", "breached"),
        (Unread(2, "2026-03-05"), {"flow": "0.2", "flow_days": 5}, "breached", "ok"),  # all of them are older
        (Unread(2, "2026-03-10"), {}, "ok", "ok"),  # the policy looks at none
        (Unread(2, "2026-03-01"), {"depreciation_notices": True}, "ok", "ok"),
        (Unread(2, "2026-03-02"), {"depreciation_notices": True}, "ok", "breached"),
    ],
)
def test_flows_that_were_not_read_make_unknown_what_they_could_change(
    unread: Unread, members: dict[str, Any], flow: str, data: str
) -> None:
    """Neither large nor a loss is decided then, and an alert about data says why; older ones change nothing."""
    text = policy(**members)
    events = [flow_of("2026-03-01", "period-start", "1000", "start", 3), flow_of("2026-03-10", "cash-in", "50", "b", 9)]
    flows = Flows.of(events, "2026-03-10", "2026-03-10", "USD", unread)
    now = datetime(2026, 3, 10, 18, tzinfo=UTC)
    state = fold("p", [])
    found = {
        key: one.condition
        for key, one in triggers(state, judged("A 100x1", "A 1", text), text, RATES, Facts(flows), now)
    }
    assert (found["flow", None], found["data", "flows"]) == (flow, data)
    lost = any(key[0] == "depreciation" for key in found)
    assert lost is (bool(members.get("depreciation_notices")) and data == "ok")
    handled = recorded(
        AlertRaised(alert=1, rule="flow", policy="0" * 64, run=1, as_of="2026-03-10T18:00:00Z"),
        AlertClosed(alert=1, reason="handled", rationale="seen"),
        position=4,
    )
    if "flow" in members:  # what was not read was handled before
        assert findings(handled, text, now, flows=flows)["flow"] == "breached"


def defined(**members: Any) -> PortfolioDefined:
    """Return a definition."""
    body = {"client_id": "c", "client": 1, "base": "USD", "targets": {"A": "1"}, "policy": "test", "source": "house"}
    return PortfolioDefined.model_validate({**body, **members})


@pytest.mark.parametrize(
    ("assessed", "every", "due"),
    [
        ("2026-03-02", "year", "2027-03-01T23:00:00+00:00"),
        ("2024-02-29", "year", "2025-02-27T23:00:00+00:00"),
        ("2026-01-31", "month", "2026-02-27T23:00:00+00:00"),
        ("2025-11-30", "quarter", "2026-02-27T23:00:00+00:00"),
    ],
)
def test_suitability_is_due_one_period_after_the_assessment(assessed: str, every: str, due: str) -> None:
    """When the day begins in the zone of the policy; short months end on their last day."""
    text = policy(suitability={"every": every, "zone": "Europe/Zurich"})
    history = recorded(defined(assessed_on=assessed, risk_profile="balanced"))
    at = datetime.fromisoformat(due)
    before, after = (findings(history, text, when)["suitability"] for when in (at - timedelta(seconds=1), at))
    assert (before, after) == ("ok", "breached")


def test_suitability_is_due_without_an_assessment_and_when_the_risk_profile_changes() -> None:
    """A new assessment ends it; a definition that only changes targets does not."""
    text = policy(suitability={"every": "year", "zone": "UTC"})
    now = datetime(2026, 3, 10, tzinfo=UTC)
    assessed = defined(assessed_on="2026-03-02", risk_profile="balanced")
    riskier = defined(assessed_on="2026-03-02", risk_profile="aggressive")
    again = defined(assessed_on="2026-03-09", risk_profile="aggressive")
    assert findings(recorded(defined()), text, now)["suitability"] == "breached"
    assert findings(recorded(assessed), text, now)["suitability"] == "ok"
    assert findings(recorded(assessed, riskier), text, now)["suitability"] == "breached"
    assert findings(recorded(assessed, riskier, riskier), text, now)["suitability"] == "breached"
    assert findings(recorded(assessed, riskier, again), text, now)["suitability"] == "ok"
    assert findings(recorded(defined()), policy(), now)["suitability"] == "ok"
    assert findings(recorded(assessed), text, now, judgement=UNKNOWN)["suitability"] == "ok"


def test_a_target_is_superseded_by_advice_that_was_approved_after_it() -> None:
    """The alert lasts until the targets are set again, also in runs without another approval."""
    text, now = policy(target_superseded=True), datetime(2026, 3, 10, tzinfo=UTC)
    raised = AlertRaised(alert=1, rule="superseded", policy="0" * 64, run=1, as_of="2026-03-10T18:00:00Z")
    history = recorded(defined(), position=4)
    assert findings(history, text, now, approved=5)["superseded"] == "ok"
    assert findings(history, text, now, approved=6)["superseded"] == "breached"
    assert findings(history, policy(), now, approved=6)["superseded"] == "ok"
    waiting = [*history, *recorded(raised, position=7)]
    assert findings(waiting, text, now)["superseded"] == "breached"
    assert findings([*waiting, *recorded(defined(), position=9)], text, now)["superseded"] == "ok"
    handled = [*waiting, *recorded(AlertClosed(alert=1, reason="handled", rationale="kept"), position=9)]
    assert findings(handled, text, now, approved=8)["superseded"] == "ok"
    assert findings(handled, text, now, approved=20)["superseded"] == "breached"


def test_a_flow_is_corrected_by_its_reference_and_keeps_its_day() -> None:
    """The same again is on record; another amount is a correction; another day is refused by name."""
    known = [flow("2026-03-10", "cash-in", "20000")]
    body = {"reference": "first", "date": "2026-03-10", "kind": "cash-in", "amount": "20000.00", "currency": "USD"}
    assert not check_flow(known, RecordFlow.model_validate(body))
    assert check_flow(known, RecordFlow.model_validate({**body, "amount": "1"}))
    assert check_flow(known, RecordFlow.model_validate({**body, "reference": "another", "date": "2026-03-09"}))
    with pytest.raises(InvalidEvent) as refused:
        check_flow(known, RecordFlow.model_validate({**body, "date": "2026-03-09"}))
    assert refused.value.field == "date"
