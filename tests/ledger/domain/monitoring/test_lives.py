"""Any sequence of runs and acts of people: one open alert, no flapping, each change told once, refusals change nothing.

The model beside it is one flag for each rule, judged with fractions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import uuid4

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from ledger.domain.history import RecordedEvent
from ledger.domain.monitoring.drift import Judgement
from ledger.domain.monitoring.portfolio import Portfolio, check_act, fold
from ledger.domain.monitoring.run import Conditions, Run, transitions
from ledger.domain.monitoring.settled import for_runs, is_settled
from ledger.domain.monitoring.valuation import Rates, Unknown
from ledger.errors import Refused
from schema.events import (
    AcknowledgeAlert,
    AlertAcknowledged,
    AlertClosed,
    AlertSilenced,
    CloseAlert,
    Event,
    SilenceAlert,
)
from tests.ledger.domain.monitoring.portfolios import judged, policy

START = datetime(2026, 3, 2, 18, tzinfo=UTC)
TEXT = policy(turnover="0.06", cool_down_days=2, quiet_hours={"start": "20:00", "end": "07:00", "zone": "UTC"})
CONDITIONS = Conditions(TEXT, "0" * 64, {}, Rates("USD"))
# Half points above the target of EQ, so that each edge is met: 5 and 2.5 of the band, 6 and 3 of the turnover.
HALVES = st.integers(-14, 14)
EDGES = {"drift": (Fraction(5, 100), Fraction(25, 1000)), "turnover": (Fraction(6, 100), Fraction(3, 100))}


@dataclass
class Twin:
    """Whether the alert of a rule is open, and how often it was raised."""

    is_open: bool = False
    raised: int = 0


class Lives(RuleBasedStateMachine):
    """One portfolio, its stream as a list of events, and twins of its alerts."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[RecordedEvent] = []
        self.now, self.runs = START, 0
        # What a process that ran before remembers: it folds what is new, and forgets what no run looks at.
        self.remembered = Portfolio("p1")
        self.twins = {"drift": Twin(), "turnover": Twin(), "data": Twin()}

    @property
    def state(self) -> Portfolio:
        """The portfolio as its events say."""
        return fold("p1", self.history)

    def record(self, event: Event) -> None:
        """Append an event to the stream."""
        number = len(self.history) + 1
        body = orjson.dumps({"data": event.model_dump(mode="json", exclude_none=True)}).decode()
        self.history.append(
            RecordedEvent(number, uuid4(), "portfolio-p1", number, event.type, body, recorded_at=self.now)
        )

    @rule(halves=HALVES | st.none(), hours=st.sampled_from([1, 6, 12, 24, 72]))
    def judge(self, halves: int | None, hours: int) -> None:
        """A run some hours later; None is a day without a price. The same run again changes nothing."""
        self.now += timedelta(hours=hours)
        self.runs += 1
        run = Run(self.runs, self.now, len(self.history), historical=False)
        judgement = _judged(halves)
        new = self.history[self.remembered.version :]
        self.remembered = for_runs(fold("p1", new, self.remembered))
        changes = transitions(self.state, judgement, CONDITIONS, run)
        assert transitions(self.remembered, judgement, CONDITIONS, run) == changes
        settled = Counter(one.key for one in self.remembered.alerts.values() if is_settled(one))
        assert max(settled.values(), default=0) <= 2
        for found in changes:
            self.record(found.event)
        if self.state.run == run.number:
            assert transitions(self.state, judgement, CONDITIONS, run) == []
        self._judge_twins(halves)

    def _judge_twins(self, halves: int | None) -> None:
        data = self.twins["data"]
        data.raised += halves is None and not data.is_open
        data.is_open = halves is None
        if halves is None:
            return
        size = abs(Fraction(halves, 200))
        for name, (edge, rearm) in EDGES.items():
            twin = self.twins[name]
            if twin.is_open:
                twin.is_open = size > rearm
            elif size >= edge:
                twin.is_open, twin.raised = True, twin.raised + 1

    @precondition(lambda self: self.state.alerts)
    @rule(data=st.data(), act=st.sampled_from(["acknowledge", "silence", "close"]))
    def act(self, data: st.DataObject, act: str) -> None:
        """A person acts on any alert, also on one that is over. What is refused leaves the stream as it is."""
        watched = data.draw(st.sampled_from(sorted(self.state.alerts.values(), key=lambda one: one.number)))
        until = f"{self.now + timedelta(days=data.draw(st.integers(1, 4))):%Y-%m-%dT%H:%M:%SZ}"
        body, event = _act(act, watched.number, until)
        taken = watched.alert.state != "open"
        is_refused = not watched.alert.is_open or (act == "acknowledge" and taken)
        if is_refused:
            before = list(self.history)
            with pytest.raises(Refused, match=r"closed|acknowledged"):
                check_act(self.state, watched.position, body, self.now)
            assert self.history == before
            return
        check_act(self.state, watched.position, body, self.now)
        self.record(event)
        if act == "close":
            self.twins[watched.key[0]].is_open = False

    @invariant()
    def alerts_are_those_of_the_twins(self) -> None:
        """One alert of a rule is open at most, the newest: from the edge until the one that re-arms."""
        alerts = self.state.alerts.values()
        for name, twin in self.twins.items():
            mine = [watched for watched in alerts if watched.key == (name, None)]
            assert len(mine) == twin.raised
            assert [one.alert.is_open for one in mine[:-1]] == [False] * len(mine[:-1])
            assert [one.alert.is_open for one in mine[-1:]] == [twin.is_open] * len(mine[-1:])
            assert [watched.alert.number for watched in mine] == list(range(1, len(mine) + 1))

    @invariant()
    def each_change_is_told_once(self) -> None:
        """An opening is told once at most, and so is its close: which is decided only after a told opening."""
        told: dict[tuple[int, str], int] = {}
        for event in self.history:
            if event.type == "notification.decided" and event.data["receivers"]:
                key = event.data["alert"], event.data["about"]
                told[key] = told.get(key, 0) + 1
                assert key[1] == "opened" or (key[0], "opened") in told
        assert set(told.values()) <= {1}
        decided = {(event.data["alert"], event.data["about"]) for event in self.history if "about" in event.data}
        for one in self.state.alerts.values():
            if one.told and one.alert.reason == "inside":
                assert (one.number, "closed") in decided


def _judged(halves: int | None) -> Judgement:
    if halves is None:
        return Judgement("unknown", (Unknown("no-price", "EQ"),))
    weight = 60 + Decimal(halves) / 2
    return judged(f"EQ {weight}x1 BD {100 - weight}x1", "EQ 0.6 BD 0.4", TEXT)


def _act(act: str, number: int, until: str) -> tuple[AcknowledgeAlert | SilenceAlert | CloseAlert, Any]:
    if act == "acknowledge":
        return AcknowledgeAlert(), AlertAcknowledged(alert=number)
    if act == "silence":
        return SilenceAlert(until=until, reason="holiday"), AlertSilenced(alert=number, until=until, reason="holiday")
    closed = AlertClosed(alert=number, reason="handled", rationale="sold")
    return CloseAlert(reason="handled", rationale="sold"), closed


def test_any_life_of_alerts() -> None:
    """Whatever runs find and people do."""
    run_state_machine_as_test(Lives, settings=settings(max_examples=25, stateful_step_count=25, deadline=None))
