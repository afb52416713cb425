"""Record the holdings of many portfolios, or their valuations by a custodian, at once: all of them, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.domain.client import Client
from ledger.domain.history import RecordedEvent
from ledger.domain.monitoring.portfolio import HOLDINGS, Portfolio, check_holdings, check_known
from ledger.errors import InvalidEvent, InvalidLines, NotFound, Refused
from ledger.service.execute import Executor
from ledger.service.monitoring.owners import lineages_of, owner_of
from ledger.service.monitoring.portfolios import check_day
from ledger.service.monitoring.streams import newest_of, read_states
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from ledger.store.head import database_time
from schema.events import Event, HoldingsRecorded, RecordHoldings, RecordValuation

# The most lines of one append, because other callers wait for it.
MOST_LINES = 1000


@dataclass(frozen=True)
class HoldingsLine:
    """Holdings in a batch: their line, from 1, the portfolio, and what it holds."""

    line: int
    portfolio: str
    body: RecordHoldings


@dataclass(frozen=True)
class ValuationLine:
    """A valuation in a batch: its line, from 1, the portfolio, and its values."""

    line: int
    portfolio: str
    body: RecordValuation


Dated = HoldingsLine | ValuationLine


@dataclass(frozen=True)
class StateOfMany:
    """What is on record of a batch: portfolios, their newest records, and clients with those that they merged into.

    `now` is the time by the database's clock.
    """

    portfolios: Mapping[str, Portfolio]
    newest: Mapping[str, RecordedEvent]
    lineages: Mapping[int, list[Client]]
    now: datetime


@dataclass(frozen=True)
class BulkHoldings:
    """The command that records holdings in batches, or valuations. A line that is on record already records nothing.

    So a batch that is sent again, because its answer was lost, records nothing twice.
    """

    executor: Executor
    kind: type[Event] = HoldingsRecorded
    category: str = HOLDINGS

    async def record(self, actor: Actor, lines: Sequence[Dated]) -> list[Receipt]:
        """Record the holdings of at most MOST_LINES portfolios; return the receipts of those that were not on record.

        Raises InvalidLines for portfolios that are unknown, out of the actor's scope or named twice, and for days that
        are in the future or before the newest; then nothing is recorded.
        """
        return await self.executor.execute_all(
            actor, lambda: self.look(actor, lines), lambda state: self.decide(actor, lines, state)
        )

    def decide(self, actor: Actor, lines: Sequence[Dated], state: StateOfMany) -> list[NewEvent]:
        """Return the events of the lines that are not on record. Raises InvalidLines."""
        events: list[NewEvent] = []
        errors = repeated(lines)
        for line in lines:
            try:
                events += self._event(actor, line, state)
            except (NotFound, Refused) as refusal:
                field = "as_of" if refusal.code == "holdings-out-of-order" else "portfolio"
                errors.append((f"line {line.line}: {field}", str(refusal)))
            except InvalidEvent as error:
                errors.append((f"line {line.line}: {error.field}", error.reason))
        if errors:
            raise InvalidLines(errors)
        return events

    async def look(self, actor: Actor, lines: Sequence[Dated]) -> StateOfMany:
        """Read what `decide` needs."""
        assert len(lines) <= MOST_LINES
        names = sorted({line.portfolio for line in lines})
        portfolios = await self.executor.readers.run(lambda conn: read_states(conn, names))
        newest = await self.executor.readers.run(lambda conn: newest_of(conn, self.category, self.kind.type, names))
        lineages = await lineages_of(self.executor, actor, portfolios.values())
        now = await self.executor.readers.run_short(database_time)
        return StateOfMany(portfolios, newest, lineages, now)

    def _event(self, actor: Actor, line: Dated, state: StateOfMany) -> list[NewEvent]:
        """Return the event of a line, if it is not on record. Raises NotFound, Refused or InvalidEvent."""
        definition = check_known(state.portfolios[line.portfolio])
        client_id, limits = owner_of(actor, definition, state.lineages)
        check_day("as_of", line.body.as_of, state.now)
        event = self.kind.model_validate({**dict(line.body), "client_id": client_id, "client": definition.client})
        newest = state.newest.get(line.portfolio)
        if newest is not None and newest.members == event.model_dump(exclude_none=True):
            return []
        check_holdings(newest, line.body.as_of)
        version = 0 if newest is None else newest.version
        stream = self.category + line.portfolio
        return [NewEvent(uuid7(), stream, event, actor, version, preconditions=limits)]


def repeated(lines: Sequence[Dated]) -> list[tuple[str, str]]:
    """Return an error for each line about the portfolio of an earlier line."""
    seen: dict[str, int] = {}
    errors = []
    for line in lines:
        first = seen.setdefault(line.portfolio, line.line)
        if first != line.line:
            errors.append((f"line {line.line}: portfolio", f"line {first} has the same portfolio"))
    return errors
