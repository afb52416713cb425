"""Flows into and out of a portfolio, and what they say about it. Pure.

A flow of `amount` in `currency` on a day is part of the value if the holdings are as of that day or later. The last
record with the same reference counts, unless it takes the flow back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import NamedTuple

from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.domain.monitoring import depreciation
from ledger.domain.monitoring.drift import Judgement
from ledger.domain.monitoring.policy import MonitoringText
from ledger.domain.monitoring.valuation import Rates
from ledger.errors import InvalidEvent
from schema.events import FlowRecorded, RecordFlow

FLOWS = "flows-"
SIGNS = {"cash-in": 1, "invested-in": 1, "securities-in": 1, "cash-out": -1, "securities-out": -1}
PERIOD_START = "period-start"
# The zone that is furthest ahead, and a day more for a program whose clock is wrong.
AHEAD = timedelta(hours=14 + 24)


class Flow(NamedTuple):
    """A flow as it was recorded last; `amount` is None if it was erased."""

    position: int
    day: str
    kind: str
    amount: Fraction | None
    currency: str


class Unread(NamedTuple):
    """Older records that were not read: the position of the last of them, and the last day that one can be about."""

    position: int
    day: str

    @classmethod
    def upto(cls, event: RecordedEvent) -> Unread:
        """Return this record and all before it. Nobody records a flow of a day that has begun nowhere."""
        assert event.recorded_at is not None
        return cls(event.position, (event.recorded_at + AHEAD).date().isoformat())


@dataclass(frozen=True)
class Flows:
    """The flows of a portfolio until a day, with the day that its holdings are as of. `base`: its currency."""

    found: Sequence[Flow] = ()
    held_on: str = ""
    base: str = ""
    unread: Unread | None = None

    @classmethod
    def of(
        cls, events: Iterable[RecordedEvent], today: str, held_on: str, base: str, unread: Unread | None = None
    ) -> Flows:
        """Read the events of the stream. One that no client can send is passed over."""
        found = [flow for flow in newest(events).values() if flow is not None and flow.day <= today]
        return cls(found, held_on, base, unread)


NO_FLOWS = Flows()


def newest(events: Iterable[RecordedEvent]) -> dict[str, Flow | None]:
    """Return the flows by their references; None if the last record takes it back."""
    found: dict[str, Flow | None] = {}
    for event in events:
        with contextlib.suppress(*MALFORMED):
            body = FlowRecorded.model_validate(event.members) if "amount" in event.fields else None
            reference = f"erased {event.position}" if body is None else body.reference
            amount = None if body is None else Fraction(body.amount)
            data = event.data
            flow = Flow(event.position, str(data["date"]), str(data["kind"]), amount, str(data["currency"]))
            if event.type == FlowRecorded.type and flow.kind in {*SIGNS, PERIOD_START}:
                found[reference] = None if data.get("withdrawn") else flow
    return found


def check_flow(events: Sequence[RecordedEvent], body: RecordFlow) -> bool:
    """Return False if the flow is on record as it is. Raises InvalidEvent for a correction with another day."""
    last = next((one for one in reversed(events) if one.fields.get("reference") == body.reference), None)
    if last is None:
        return True
    if last.data.get("date") != body.date:
        raise InvalidEvent("date", "a flow keeps its day: take this one back, and send another one")
    sent = body.model_dump(exclude_none=True)
    return {name: value for name, value in last.members.items() if name in RecordFlow.model_fields} != sent


def is_large(
    flows: Flows, judgement: Judgement, policy: MonitoringText, rates: Rates, today: date, after: int
) -> bool | None:
    """Return whether the flows of the last days together are at least the policy's share of the value before them.

    Flows that were recorded until the position `after` are handled. None if the value, an amount or a rate is unknown,
    or a flow that counts may not have been read.
    """
    earliest = _earliest(policy, today)
    if policy.flow is not None and _lacks_recent(flows, earliest, after):
        return None
    looked_at = [
        one for one in flows.found if one.day >= earliest and one.position > after and one.kind != PERIOD_START
    ]
    if policy.flow is None or not looked_at:
        return False
    amounts = {one: _in_base(one, flows.base, rates) for one in looked_at}
    if judgement.valuation is None or None in amounts.values():
        return None
    total = sum((amount or Fraction(0) for amount in amounts.values()), Fraction(0))
    value = Fraction(judgement.valuation.total, judgement.valuation.scale)
    before = value - sum(
        (amount or Fraction(0) for one, amount in amounts.items() if one.day <= flows.held_on), Fraction(0)
    )
    return total != 0 and abs(total) >= Fraction(policy.flow) * max(before, Fraction(0))


def lacks_flows(flows: Flows, policy: MonitoringText, today: date, after: int) -> bool:
    """Return True if records that were not read can change what the policy looks at, as in `is_large`."""
    recent = policy.flow is not None and _lacks_recent(flows, _earliest(policy, today), after)
    return recent or (policy.depreciation_notices and _lacks_period(flows))


def _lacks_recent(flows: Flows, earliest: str, after: int) -> bool:
    return flows.unread is not None and flows.unread.day >= earliest and flows.unread.position > after


def _lacks_period(flows: Flows) -> bool:
    """Return True if a record that was not read can be of the reporting period, or begin a newer one."""
    start = _start(flows)
    return flows.unread is not None and (start is None or flows.unread.day > start.day)


def _start(flows: Flows) -> Flow | None:
    starts = [one for one in flows.found if one.kind == PERIOD_START]
    return max(starts, key=lambda one: (one.day, one.position), default=None)


def _earliest(policy: MonitoringText, today: date) -> str:
    return (today - timedelta(days=policy.flow_days - 1)).isoformat()


class Depreciated(NamedTuple):
    """The number of tenths of the value at the start of the reporting period that are lost."""

    start: str
    step: int


def depreciated(flows: Flows, judgement: Judgement, rates: Rates) -> Depreciated | None:
    """Return the loss since the start of the newest reporting period; None if there is none, or it is unknown.

    Flows after the first day count if they are part of the value: cash that came in is taken off the value, what was
    invested is added to the start, and what went out is taken off the start.
    """
    start = _start(flows)
    if judgement.valuation is None or start is None or _lacks_period(flows):
        return None
    later = [one for one in flows.found if start.day < one.day <= flows.held_on and one.kind != PERIOD_START]
    amounts = [_in_base(one, flows.base, rates) for one in later]
    base = _amount(start, flows.base, rates)
    if base is None or None in amounts:
        return None
    cash_in = Fraction(0)
    for one, amount in zip(later, amounts, strict=True):
        if one.kind == "cash-in":
            cash_in += amount or 0
        else:
            base += amount or 0
    value = Fraction(judgement.valuation.total, judgement.valuation.scale)
    return None if base <= 0 else Depreciated(start.day, depreciation.step(base, value, cash_in))


def _in_base(flow: Flow, base: str, rates: Rates) -> Fraction | None:
    amount = _amount(flow, base, rates)
    return None if amount is None else SIGNS[flow.kind] * amount


def _amount(flow: Flow, base: str, rates: Rates) -> Fraction | None:
    rate = rates.between(flow.currency, base)
    return None if flow.amount is None or rate is None else flow.amount * Fraction(*rate)
