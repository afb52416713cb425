"""Record flows into and out of portfolios: one, or all of a batch or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from ledger.domain.client import Client
from ledger.domain.history import RecordedEvent
from ledger.domain.monitoring.flows import FLOWS, check_flow
from ledger.domain.monitoring.portfolio import Portfolio, check_known
from ledger.errors import InvalidEvent, InvalidLines, NotFound
from ledger.service.command import Command
from ledger.service.execute import Executor
from ledger.service.monitoring.owners import lineages_of, owner_of
from ledger.service.monitoring.portfolios import check_day
from ledger.service.monitoring.streams import read_states, read_streams
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from ledger.store.head import database_time
from schema.events import FlowRecorded, RecordFlow


@dataclass(frozen=True)
class FlowLine:
    """A flow in a batch: its line, from 1, the portfolio, and what it is."""

    line: int
    portfolio: str
    body: RecordFlow


@dataclass(frozen=True)
class _State:
    """What is on record of a batch: portfolios, their flows, and clients with those that they merged into.

    `now` is the time by the database's clock.
    """

    portfolios: Mapping[str, Portfolio]
    flows: Mapping[str, list[RecordedEvent]]
    lineages: Mapping[int, list[Client]]
    now: datetime


@dataclass(frozen=True)
class Flows:
    """The command that records flows. One that is on record as it is sent, by its reference, records nothing."""

    executor: Executor

    async def record(self, actor: Actor, lines: Sequence[FlowLine]) -> list[Receipt]:
        """Record the flows that are not on record; return their receipts.

        Raises InvalidLines for portfolios that are unknown or out of the actor's scope, references that stand twice,
        and days that are in the future or not those of the flow that is corrected; then nothing is recorded.
        """
        names = sorted({line.portfolio for line in lines})

        def decide(state: _State) -> list[NewEvent]:
            events: list[NewEvent] = []
            errors = _repeated(lines)
            ahead: dict[str, int] = dict.fromkeys(names, 0)
            for line in lines:
                try:
                    new = self._event(actor, line, state, ahead[line.portfolio])
                except NotFound as refusal:
                    errors.append((f"line {line.line}: portfolio", str(refusal)))
                except InvalidEvent as error:
                    errors.append((f"line {line.line}: {error.field}", error.reason))
                else:
                    events += new
                    ahead[line.portfolio] += len(new)
            if errors:
                raise InvalidLines(errors)
            return events

        return await self.executor.execute_all(actor, lambda: self._look(actor, names), decide)

    async def record_one(
        self, actor: Actor, name: str, body: RecordFlow, event_id: UUID | None = None
    ) -> tuple[Receipt, bool]:
        """Record a flow. False: it is on record as it is. Raises NotFound `portfolio-unknown` or `client-unknown`,
        InvalidEvent.
        """
        line = FlowLine(1, name, body)
        state = await self._look(actor, [name])
        new = self._event(actor, line, state, 0)
        if not new:
            known = next(one for one in reversed(state.flows[name]) if one.fields.get("reference") == body.reference)
            found = await self.executor.find(known.id)
            assert found is not None
            return found[0], False
        command = Command.of_event(actor, FLOWS + name, new[-1].event, event_id, "client_id", "client")
        command = replace(command, unknown="portfolio-unknown")

        def decide(state: _State, new_id: UUID) -> list[NewEvent]:
            events = self._event(actor, line, state, 0) or new  # somebody has recorded it meanwhile
            return [replace(events[-1], id=new_id)]

        return await self.executor.execute(command, lambda: self._look(actor, [name]), decide), True

    async def _look(self, actor: Actor, names: Sequence[str]) -> _State:
        portfolios = await self.executor.readers.run(lambda conn: read_states(conn, names))
        found = await self.executor.readers.run(lambda conn: read_streams(conn, [FLOWS + name for name in names]))
        lineages = await lineages_of(self.executor, actor, portfolios.values())
        flows = {stream.removeprefix(FLOWS): events for stream, events in found.items()}
        now = await self.executor.readers.run_short(database_time)
        return _State(portfolios, flows, lineages, now)

    def _event(self, actor: Actor, line: FlowLine, state: _State, ahead: int) -> list[NewEvent]:
        """Return the event of a line, if it is not on record. Raises NotFound or InvalidEvent."""
        definition = check_known(state.portfolios[line.portfolio])
        client_id, limits = owner_of(actor, definition, state.lineages)
        check_day("date", line.body.date, state.now)
        known = state.flows.get(line.portfolio, [])
        if not check_flow(known, line.body):
            return []
        event = FlowRecorded(**dict(line.body), client_id=client_id, client=definition.client)
        version = (known[-1].version if known else 0) + ahead
        return [NewEvent(uuid7(), FLOWS + line.portfolio, event, actor, version, preconditions=limits)]


def _repeated(lines: Sequence[FlowLine]) -> list[tuple[str, str]]:
    """Return an error for each line about the flow of an earlier line."""
    seen: dict[tuple[str, str], int] = {}
    errors = []
    for line in lines:
        first = seen.setdefault((line.portfolio, line.body.reference), line.line)
        if first != line.line:
            errors.append((f"line {line.line}: reference", f"line {first} has the same portfolio and reference"))
    return errors
