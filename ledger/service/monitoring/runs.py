"""Runs of monitoring: start, judge all portfolios, record what changes, complete; and compute one again.

There is one run at a time. A run that was killed is finished by the next command: it judges by the same position and
as-of time, and its events have the same ids. Two processes that finish the same run record it once.
"""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from ledger.database import AsyncConnection
from ledger.domain.monitoring.calendar import zone_data_version
from ledger.domain.monitoring.drift import Judgement
from ledger.domain.monitoring.leaf import shown
from ledger.domain.monitoring.portfolio import Portfolio, stream_of
from ledger.domain.monitoring.run import (
    Run,
    check_completed,
    check_count,
    check_order,
    second,
    transition_id,
    transitions,
)
from ledger.domain.monitoring.triggers import NO_FACTS, Facts
from ledger.errors import ClientErased, IdConflict, InvalidEvent, Refused, VersionConflict
from ledger.proof.tlog.merkle import leaf_hashes, root_of
from ledger.service.authority import judged_as
from ledger.service.command import Command
from ledger.service.execute import TRIES, Executor, encoded
from ledger.service.monitoring.advice import Advice
from ledger.service.monitoring.deliveries import Deliveries
from ledger.service.monitoring.facts import read_facts
from ledger.service.monitoring.inputs import Inputs, read_inputs
from ledger.service.monitoring.memory import Memory
from ledger.service.monitoring.reports import Change, Replayed, RunReport, WouldBe
from ledger.service.monitoring.started import CATEGORY, NEVER, StartedRun, StartedRuns, run_of
from ledger.service.monitoring.streams import HERE, acted_since, read_states
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from ledger.store.head import database_time, read_head_async
from schema.events import MonitoringRunCompleted, MonitoringRunStarted

COUNTS = (HERE / "counts.sql").read_bytes()
# A run whose as-of time is over for longer tells nobody.
HISTORICAL_AFTER = timedelta(days=1)
# The portfolios whose events are appended at once.
AT_ONCE = 200


@dataclass(frozen=True)
class _Judged:
    """The results of a run, in the order of names."""

    inputs: Inputs
    judgements: Mapping[str, Judgement]
    leaves: Mapping[str, bytes]
    # Read when the run is recorded. A replay needs none.
    facts: Mapping[str, Facts] = field(default_factory=dict)


@dataclass(frozen=True)
class MonitoringRuns:
    """Runs of all portfolios of the ledger."""

    executor: Executor
    memory: Memory = field(default_factory=Memory)

    @property
    def _found(self) -> StartedRuns:
        return StartedRuns(self.executor.readers)

    async def run(self, actor: Actor, as_of: datetime, event_id: UUID | None = None) -> tuple[Receipt, RunReport]:
        """Judge all portfolios as of a time and the present position; finish a run that was killed first.

        Raises InvalidEvent for a time in the future, Refused `run-out-of-order`, `too-many-portfolios` or `busy`.
        """
        now = await self.executor.readers.run_short(database_time)
        if as_of > now:
            raise InvalidEvent("as_of", "must not be in the future")

        async def look() -> tuple[dict[str, int], StartedRun | None, int]:
            before = await self._found.before(NEVER, now)
            if before is not None and len(await self._found.history(before.number)) < 2:
                await self._complete(actor, before)
            # No run is started meanwhile, and the newest one gets no further.
            versions = await self._found.versions()
            head = await self.executor.readers.run_short(read_head_async)
            return versions, before, 0 if head is None else head.position

        def decide(state: tuple[dict[str, int], StartedRun | None, int], new_id: UUID) -> list[NewEvent]:
            preconditions, before, position = state
            check_order(None if before is None else before.run.at, second(as_of))
            event = MonitoringRunStarted(
                as_of=second(as_of),
                position=position,
                zone_data=zone_data_version(),
                historical=now - as_of > HISTORICAL_AFTER,
            )
            return [NewEvent(new_id, CATEGORY, event, actor, "no_stream", preconditions=preconditions)]

        members = {"as_of": second(as_of)}
        derived = frozenset({"position", "zone_data", "historical"})
        command = Command(actor, CATEGORY, MonitoringRunStarted, members, event_id, derived)
        started = await self.executor.execute(command, look, decide)
        return await self._finish(actor, int(started.stream.removeprefix(CATEGORY)))

    async def newest(self) -> Run | None:
        """Return the newest completed run, or None."""
        found = await self._found.before(NEVER)
        while found is not None and len(await self._found.history(found.number)) < 2:
            found = await self._found.before(found.event.position)
        return None if found is None else found.run

    async def replay(self, number: int) -> Replayed:
        """Compute a run again and compare. Raises NotFound `run-unknown`, Refused `run-not-completed`."""
        events = await self._found.events(number)
        check_completed(len(events))
        recorded = events[1].data
        judged = await self._judge(run_of(number, events[0]))
        before = _leaves(recorded["leaves"])
        names = judged.inputs.names
        given = [name for name in names if judged.inputs.salts[name] is None]
        leaves = [old if name in given else judged.leaves[name] for name, old in zip(names, before, strict=False)]
        different = [name for name, old, new in zip(names, before, leaves, strict=False) if old != new]
        agrees = len(names) == len(before) and _digests(judged.inputs) == recorded["policies"]
        return Replayed(
            run=number,
            as_of=events[0].data["as_of"],
            position=events[0].data["position"],
            recorded_root=recorded["root"],
            computed_root=_root(leaves) if agrees else "",
            portfolios=len(names),
            given=given,
            different=different,
        )

    async def would_be(self, number: int) -> WouldBe:
        """Judge a run by what is on record now. Raises NotFound `run-unknown`, Refused `run-not-completed`.

        Only portfolios that the run judged are looked at.
        """
        events = await self._found.events(number)
        check_completed(len(events))
        run = run_of(number, events[0])
        head = await self.executor.readers.run_short(read_head_async)
        upto = run.position if head is None else head.position
        then, now = await self._judge(run), await self._judge(replace(run, position=upto))
        names = then.inputs.names
        different = [name for name in names if shown(name, then.judgements[name]) != shown(name, now.judgements[name])]
        return WouldBe(
            run=number,
            as_of=run.at,
            position=run.position,
            upto=upto,
            portfolios=len(names),
            conditions=_conditions_of(then.judgements[name] for name in names),
            would_be=_conditions_of(now.judgements[name] for name in names),
            different=different,
            changes=[
                Change(name, then.judgements[name].condition, now.judgements[name].condition) for name in different
            ],
        )

    async def _finish(self, actor: Actor, number: int) -> tuple[Receipt, RunReport]:
        """Record what a started run has left to record."""
        events = await self._found.events(number)
        if len(events) < 2:
            await self._complete(actor, StartedRun(number, events[0], run_of(number, events[0])))
            events = await self._found.events(number)
        started, completed = events[:2]
        found = await self.executor.find(completed.id)
        assert found is not None
        data = completed.data
        report = RunReport(
            run=number,
            position=started.data["position"],
            portfolios=data["portfolios"],
            conditions=data["conditions"],
            raised=data["raised"],
            closed=data["closed"],
            decisions=data["decisions"],
            root=data["root"],
            historical=started.data["historical"],
        )
        return found[0], report

    async def _complete(self, actor: Actor, found: StartedRun) -> None:
        number, started = found.number, found.event
        before = await self._found.before(started.position, found.run.as_of)
        run = run_of(number, started, None if before is None else before.event)
        judged = await self._judge(run, self.memory)
        names = judged.inputs.names
        states = {
            **judged.inputs.states,
            **await self.executor.readers.run(lambda conn: acted_since(conn, run.position)),
        }
        judged = replace(judged, facts=await read_facts(self.executor.readers, judged.inputs))
        for first in range(0, len(names), AT_ONCE):
            await self._record(actor, judged, states, names[first : first + AT_ONCE], started.id)
        await Advice(self.executor).ask(actor, judged.inputs, judged.judgements)
        leaves = [judged.leaves[name] for name in names]
        counted = await self._counts(number, started.position)
        event = MonitoringRunCompleted(
            portfolios=len(names),
            conditions=_conditions_of(judged.judgements.values()),
            raised=counted.get("alert.raised", 0),
            closed=counted.get("alert.closed", 0),
            decisions=counted.get("notification.decided", 0),
            policies=_digests(judged.inputs),
            root=_root(leaves),
            leaves=base64.b64encode(b"".join(leaves)).decode(),
        )
        new = NewEvent(uuid7(), f"{CATEGORY}{number}", event, actor, 1, causation=started.id)
        await self._append(actor, [*await Deliveries(self.executor).planned(number, started, actor), new])

    async def _judge(self, run: Run, memory: Memory | None = None) -> _Judged:
        inputs = await self.executor.readers.run(lambda conn: read_inputs(conn, run, memory=memory))
        check_count(len(inputs.names))
        return await asyncio.to_thread(_judge_all, inputs)

    async def _record(
        self, actor: Actor, judged: _Judged, states: Mapping[str, Portfolio], names: Sequence[str], cause: UUID
    ) -> None:
        """Append what the run changes in some portfolios. Whoever acts on one meanwhile makes it start again."""
        for _ in range(TRIES):
            events = [new for name in names for new in _changes(judged, states[name], actor, cause)]
            if not events or await self._append(actor, events):
                return
            actor = await self.executor.authority.judge(actor)
            states = await self.executor.readers.run(partial(read_states, names=names))
        raise Refused("busy", "others are acting on these portfolios; try again")

    async def _append(self, actor: Actor, events: list[NewEvent]) -> bool:
        """Append the events; False if another append came first, perhaps of another process that finishes this run."""
        try:
            await self.executor.writer.append_lines(await encoded(judged_as(actor, events)))
        except (VersionConflict, IdConflict, ClientErased):
            return False
        return True

    async def _counts(self, number: int, after: int) -> dict[str, int]:
        async def work(conn: AsyncConnection) -> list[tuple[str, int]]:
            return await (await conn.execute(COUNTS, {"run": str(number), "after": after}, prepare=True)).fetchall()

        return dict(await self.executor.readers.run(work))


def stream_of_run(number: int) -> str:
    """Return the name of a run's stream."""
    return f"{CATEGORY}{number}"


def _conditions_of(judgements: Iterable[Judgement]) -> dict[str, int]:
    """Return how many portfolios have each condition."""
    counts = Counter(one.condition for one in judgements)
    return {name: counts[name] for name in ("ok", "watch", "breached", "unknown")}


def _judge_all(inputs: Inputs) -> _Judged:
    judgements = {name: inputs.judge(name) for name in inputs.names}
    return _Judged(inputs, judgements, {name: inputs.leaf(name, judgements[name]) for name in inputs.names})


def _changes(judged: _Judged, state: Portfolio, actor: Actor, cause: UUID) -> list[NewEvent]:
    """Return the events of a run in the stream of one portfolio."""
    inputs, name = judged.inputs, state.name
    conditions = inputs.conditions[inputs.definitions[name].policy]
    found = transitions(state, judged.judgements[name], conditions, inputs.run, judged.facts.get(name, NO_FACTS))
    return [
        NewEvent(
            transition_id(inputs.run.number, name, one.name),
            stream_of(name),
            one.event,
            actor,
            state.version + ahead,
            causation=cause,
        )
        for ahead, one in enumerate(found)
    ]


def _digests(inputs: Inputs) -> dict[str, str]:
    return {name: one.digest for name, one in sorted(inputs.conditions.items())}


def _root(leaves: Sequence[bytes]) -> str:
    return root_of(leaf_hashes(leaves)).hex()


def _leaves(text: str) -> list[bytes]:
    whole = base64.b64decode(text)
    return [whole[at : at + 32] for at in range(0, len(whole), 32)]
