"""The lives of alerts: opened, told, closed and opened again as the vectors say, without flapping."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.monitoring.alerts import (
    Alert,
    Finding,
    acknowledge,
    after_policy,
    after_run,
    close,
    data_finding,
    drift_finding,
    held,
    limit_finding,
    propose_action,
    turnover_finding,
)
from ledger.domain.monitoring.drift import Judgement
from ledger.domain.monitoring.telling import Hindrance, Hindrances, Tell, Wait, Withhold, decide
from ledger.domain.monitoring.valuation import Unknown
from ledger.errors import Refused
from schema.states import AlertState
from tests.ledger.domain.monitoring.portfolios import judged, policy

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
POLICY = policy(cool_down_days=3)


def on(points: str | None) -> Judgement:
    """Judge a portfolio whose equities are this many points off their target of 60; None is a day without a price."""
    if points is None:
        return Judgement("unknown", (Unknown("no-price", "EQ"),))
    weight = 60 + Decimal(points)
    return judged(f"EQ {weight}x1 BD {100 - weight}x1", "EQ 0.6 BD 0.4", POLICY)


@dataclass
class Life:
    """One alert's life: what each run changed, and what was decided, by day."""

    alert: Alert | None = None
    told_step: int = 0
    waited: Hindrance | None = None
    events: list[str] = field(default_factory=list)

    def run(self, finding: Finding, now: datetime, hindrances: Hindrances) -> list[str]:
        """Judge once, decide once, and return what happened."""
        before, changes = self.alert, []
        self.alert = after_run(before, finding, now)
        if self.alert is not before and self.alert is not None:
            opened = before is None or self.alert.number != before.number
            changes.append("closed" if not self.alert.is_open else "opened" if opened else "higher")
            if opened:
                self.told_step, self.waited = 0, None
        if self.alert is not None and (self.alert.is_open or "closed" in changes or self.waited):
            changes += self.decided(now, hindrances)
        return changes

    def decided(self, now: datetime, hindrances: Hindrances) -> list[str]:
        """Decide about the alert, and return what was decided."""
        assert self.alert is not None
        decision = decide(self.alert, self.told_step, self.waited, hindrances, now)
        match decision:
            case Tell(about):
                self.waited = None
                self.told_step = self.alert.step
                return [f"told {about}"]
            case Wait(reason, _):
                again = self.waited == reason
                self.waited = reason
                return [] if again else [f"wait {reason}"]
            case Withhold(reason):
                self.waited = None
                self.told_step = self.alert.step
                return [f"withheld {reason}"]
        return []


def test_life_a1_opens_closes_and_opens_again() -> None:
    """Hysteresis holds it open to half the band; a new breach is a new alert; the cool-down delays telling only."""
    life, days = Life(), []
    for day, points in enumerate(["3.9", "4.0", "5.0", "4.9", "5.1", "2.6", "2.5", "4.9", "5.0", "5.2", "5.1"], 1):
        now = START + timedelta(days=day)
        closed = life.alert.closed_at if life.alert else None
        until = None if closed is None else closed + timedelta(days=POLICY.cool_down_days)
        judgement = on(points)
        finding = drift_finding(judgement)
        events = life.run(finding, now, Hindrances(cool_down_until=until))
        days.append((held(life.alert, finding), events))
    assert [condition for condition, _ in days] == (
        ["ok", "watch"] + ["breached"] * 4 + ["ok", "watch"] + ["breached"] * 3
    )
    assert [events for _, events in days] == [
        [], [], ["opened", "told opened"], [], [], [], ["closed", "told closed"], [],
        ["opened", "wait cool-down"], ["told opened"], [],
    ]  # fmt: skip
    assert life.alert is not None
    assert life.alert.number == 2


def test_life_a2_missing_data_neither_opens_nor_closes() -> None:
    """The drift alert stays as it is over days without data, and nobody is told twice; the data alert has its life."""
    drift, data = Life(), Life()
    drifts, datas = [], []
    for day, points in enumerate(["5.2", None, None, "5.1", None, "2.0", "2.1"]):
        now, judgement = START + timedelta(days=day), on(points)
        drifts.append(drift.run(drift_finding(judgement), now, Hindrances()))
        datas.append(data.run(data_finding(judgement), now, Hindrances()))
    assert drifts == [["opened", "told opened"], [], [], [], [], ["closed", "told closed"], []]
    assert datas == [
        [], ["opened", "told opened"], [], ["closed", "told closed"], ["opened", "told opened"],
        ["closed", "told closed"], [],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (["3.0", "5.5", "5.6", "5.6"], [[], ["opened", "wait quiet-hours"], [], ["told opened"]]),
        (["3.0", "5.5", "2.0", "2.0"], [[], ["opened", "wait quiet-hours"], ["closed", "withheld quiet-hours"], []]),
        (
            ["5.5", "5.5", "2.0", "2.0"],
            [["opened", "told opened"], [], ["closed", "wait quiet-hours"], ["told closed"]],
        ),
    ],
    ids=["a", "b", "c"],
)
def test_life_a3_at_the_end_of_quiet_hours_it_is_decided_again(points: list[str], expected: list[list[str]]) -> None:
    """What is still breached is told once, what is closed is withheld or, if its opening was told, told as closed."""
    life, quiet = Life(), START + timedelta(hours=23)
    hours, results = [13, 15, 18, 23], []
    for hour, point in zip(hours, points, strict=True):
        now = START + timedelta(hours=hour)
        hindrances = Hindrances(quiet_until=quiet if 14 <= hour < 23 else None)
        results.append(life.run(drift_finding(on(point)), now, hindrances))
    assert results == expected


def test_life_a3_d_an_acknowledged_alert_is_withheld() -> None:
    """Acknowledged in quiet hours: nobody is told at their end."""
    life, now = Life(), START
    life.run(drift_finding(on("5.5")), now, Hindrances(quiet_until=now + timedelta(hours=8)))
    assert life.alert is not None
    life.alert = acknowledge(life.alert)
    assert life.run(drift_finding(on("5.6")), now + timedelta(hours=8), Hindrances()) == ["withheld acknowledged"]


def test_when_a_silence_over_twenty_runs_ends_there_is_one_message() -> None:
    """The end of a silence does not send what it held back, only what is still so."""
    life, until = Life(), START + timedelta(days=20)
    results = [
        life.run(drift_finding(on("5.5")), START + timedelta(days=day), Hindrances(silenced_until=until))
        for day in range(25)
    ]
    assert [result for result in results if result] == [["opened", "wait silenced"], ["told opened"]]
    assert results[20] == ["told opened"]


def test_a_higher_step_is_decided_anew_and_a_lower_one_is_not() -> None:
    """A second threshold of the same alert is told; falling back to the first changes nothing."""
    life = Life()
    steps = [life.run(Finding("breached", rearmed=False, step=step), START, Hindrances()) for step in (1, 2, 1, 2, 3)]
    assert steps == [["opened", "told opened"], ["higher", "told opened"], [], [], ["higher", "told opened"]]


@given(st.lists(st.integers(0, 120), min_size=1, max_size=60))
def test_no_alert_flaps_between_the_edges(tenths: list[int]) -> None:
    """For any drifts: opened only at the outer edge, closed only at the inner one, and never two changes without
    crossing the whole way between them."""
    alert: Alert | None = None
    changes: list[tuple[bool, int]] = []
    for day, tenth in enumerate(tenths):
        before = alert
        alert = after_run(alert, drift_finding(on(str(Decimal(tenth) / 10))), START + timedelta(days=day))
        if alert is not before and alert is not None:
            changes.append((alert.is_open, tenth))
    assert all((tenth >= 50) if opened else (tenth <= 25) for opened, tenth in changes)
    assert all(one[0] != other[0] for one, other in pairwise(changes))


def test_another_version_of_the_policy_closes_what_is_inside_it() -> None:
    """An open alert that the new version would not open is closed as "policy"; a breach stays open."""
    alert = Alert(1, AlertState.ACKNOWLEDGED, 1, START)
    assert after_policy(alert, Finding("watch", rearmed=False), START).reason == "policy"
    assert after_policy(alert, Finding("breached", rearmed=False), START) is alert
    assert after_policy(alert, Finding("unknown", rearmed=False), START) is alert


def test_turnover_and_limits_have_findings_of_their_own() -> None:
    """Turnover has both edges; a limit has one; without a value both are unknown."""
    text = policy(turnover="0.05")
    edge = judged("EQ 65x1 BD 35x1", "EQ 0.6 BD 0.4", text)
    between = judged("EQ 63x1 BD 37x1", "EQ 0.6 BD 0.4", text)
    inner = judged("EQ 62.5x1 BD 37.5x1", "EQ 0.6 BD 0.4", text)
    assert turnover_finding(edge, text) == Finding("breached", rearmed=False)
    assert turnover_finding(between, text) == Finding("ok", rearmed=False)
    assert turnover_finding(inner, text) == Finding("ok", rearmed=True)
    limited = judged("EQ 65x1 BD 35x1", "EQ 0.6 BD 0.4", policy(single_limit="0.6"))
    assert limited.beyond == ("EQ",)
    assert limit_finding(limited, beyond=True) == Finding("breached", rearmed=False)
    assert limit_finding(limited, beyond=False) == Finding("ok", rearmed=True)
    assert turnover_finding(on(None), text).condition == limit_finding(on(None), beyond=False).condition == "unknown"


def test_refusals_of_people_are_named() -> None:
    """Nothing is done to a closed alert, nor twice to an acknowledged one; a run's reason is not a person's."""
    alert = Alert(1, AlertState.OPEN, 1, START)
    taken = acknowledge(alert)
    assert propose_action(taken).state is AlertState.ACTION_PROPOSED
    assert propose_action(alert).state is AlertState.OPEN  # nobody has taken it yet
    with pytest.raises(Refused) as refused:
        acknowledge(taken)
    assert refused.value.code == "alert-acknowledged"
    with pytest.raises(Refused) as refused:
        close(alert, "inside", START)
    assert refused.value.code == "close-reason"
    closed = close(taken, "handled", START)
    for act in (acknowledge, propose_action):
        with pytest.raises(Refused) as refused:
            act(closed)
        assert refused.value.code == "alert-closed"


def test_the_hindrance_that_ends_last_counts() -> None:
    """One that is over does not hinder, and at its end it is over."""
    hour = timedelta(hours=1)
    both = Hindrances(quiet_until=START + hour, silenced_until=START + 2 * hour, cool_down_until=START)
    assert both.last(START) == Wait("silenced", START + 2 * hour)
    assert both.last(START + 2 * hour) is None
