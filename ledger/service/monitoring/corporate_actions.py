"""Record corporate actions: all of a batch, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.domain.history import RecordedEvent
from ledger.domain.monitoring.actions import STREAM, crossed, fault, key, newest
from ledger.errors import InvalidLines
from ledger.service.execute import Executor
from ledger.service.monitoring.streams import read_actions
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from ledger.store.head import database_time
from schema.events import CorporateActionRecorded, RecordAction

# An action is announced before its day, but not longer before.
MOST_AHEAD = timedelta(days=366)


@dataclass(frozen=True)
class ActionLine:
    """A corporate action in a batch: its line, from 1, and what it is."""

    line: int
    body: RecordAction


@dataclass(frozen=True)
class CorporateActions:
    """The command that records corporate actions. One that is on record as it is sent records nothing."""

    executor: Executor

    async def record(self, actor: Actor, lines: Sequence[ActionLine]) -> list[Receipt]:
        """Record the actions that are not on record; return their receipts.

        Raises InvalidLines for members that do not fit the kind of action, actions that stand twice, and days that are
        too far ahead, and for identifiers that would mean two assets; then nothing is recorded.
        """
        now = await self.executor.readers.run_short(database_time)
        if errors := [*_faults(lines, now), *_repeated(lines)]:
            raise InvalidLines(errors)

        async def look() -> list[RecordedEvent]:
            return await self.executor.readers.run(read_actions)

        def decide(history: list[RecordedEvent]) -> list[NewEvent]:
            known = {_place(event): event.data for event in history}
            version = history[-1].version if history else 0
            if errors := _crossed(history, lines):
                raise InvalidLines(errors)
            events = [CorporateActionRecorded(**dict(line.body)) for line in lines]
            fresh = [one for one in events if known.get(key(one)) != one.model_dump(exclude_none=True)]
            return [NewEvent(uuid7(), STREAM, one, actor, version + ahead) for ahead, one in enumerate(fresh)]

        return await self.executor.execute_all(actor, look, decide)


def _place(event: RecordedEvent) -> tuple[str, str, str]:
    return tuple(str(event.data.get(name)) for name in ("asset", "date", "action"))  # type: ignore[return-value]


def _crossed(history: Sequence[RecordedEvent], lines: Sequence[ActionLine]) -> list[tuple[str, str]]:
    """Return an error for each line by which an identifier would mean two assets, also one that is on record."""
    sent = {key(line.body): line.body for line in lines}
    crossing = crossed({**newest(history), **sent}.values())
    to_two = {key(one) for one in crossing}
    # The line of an asset that is renamed earlier, or on that day, than another one on record gets its identifier.
    used = {one.to for one in crossing if key(one) not in sent}
    return [
        (f"line {line.line}: to", "an identifier would mean two assets: name the one that each has in the end")
        for line in lines
        if line.body.action == "renamed" and (key(line.body) in to_two or line.body.asset in used)
    ]


def _faults(lines: Sequence[ActionLine], now: datetime) -> list[tuple[str, str]]:
    latest = (now + MOST_AHEAD).date().isoformat()
    found = [(line.line, fault(line.body)) for line in lines]
    errors = [(f"line {number}: {wrong[0]}", wrong[1]) for number, wrong in found if wrong is not None]
    ahead = [line.line for line in lines if line.body.date > latest]
    return errors + [(f"line {number}: date", f"must be at most {MOST_AHEAD.days} days ahead") for number in ahead]


def _repeated(lines: Sequence[ActionLine]) -> list[tuple[str, str]]:
    """Return an error for each line about the action of an earlier line."""
    seen: dict[tuple[str, str, str], int] = {}
    errors = []
    for line in lines:
        first = seen.setdefault(key(line.body), line.line)
        if first != line.line:
            errors.append((f"line {line.line}: asset", f"line {first} has the same action of the same asset and day"))
    return errors
