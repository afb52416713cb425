"""Record the holdings of many portfolios at once: all of them, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.domain.client import Client, stream_of
from ledger.domain.history import RecordedEvent
from ledger.domain.monitoring.portfolio import Portfolio, check_holdings, check_known, holdings_of
from ledger.errors import InvalidEvent, InvalidLines, NotFound, Refused
from ledger.service.execute import Executor, unknown
from ledger.service.monitoring.portfolios import check_day
from ledger.service.monitoring.streams import holdings_at, read_states
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from schema.events import HoldingsRecorded, RecordHoldings

# Of one append, which other callers wait for.
MOST_LINES = 1000


@dataclass(frozen=True)
class HoldingsLine:
    """Holdings in a batch: their line, from 1, the portfolio, and what it holds."""

    line: int
    portfolio: str
    body: RecordHoldings


@dataclass(frozen=True)
class _State:
    """What is on record of a batch: portfolios, their newest holdings, and clients with those that they merged into."""

    portfolios: Mapping[str, Portfolio]
    holdings: Mapping[str, RecordedEvent]
    lineages: Mapping[int, list[Client]]


@dataclass(frozen=True)
class BulkHoldings:
    """The command that records holdings in batches. A line that is on record already records nothing.

    So a batch that is sent again, because its answer was lost, records nothing twice.
    """

    executor: Executor

    async def record(self, actor: Actor, lines: Sequence[HoldingsLine]) -> list[Receipt]:
        """Record the holdings of at most MOST_LINES portfolios; return the receipts of those that were not on record.

        Raises InvalidLines for portfolios that are unknown, out of the actor's scope or named twice, and for days that
        are in the future or before the newest; then nothing is recorded.
        """
        assert len(lines) <= MOST_LINES

        def decide(state: _State) -> list[NewEvent]:
            events: list[NewEvent] = []
            errors = _repeated(lines)
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

        return await self.executor.execute_all(actor, lambda: self._look(actor, lines), decide)

    async def _look(self, actor: Actor, lines: Sequence[HoldingsLine]) -> _State:
        names = sorted({line.portfolio for line in lines})
        portfolios = await self.executor.readers.run(lambda conn: read_states(conn, names))
        holdings = await self.executor.readers.run(lambda conn: holdings_at(conn, names))
        clients = {one.definition.client for one in portfolios.values() if one.definition is not None}
        scoped = clients if actor.scope is not None else set()
        lineages = {number: await self.executor.lineage(number) for number in scoped}
        return _State(portfolios, holdings, lineages)

    def _event(self, actor: Actor, line: HoldingsLine, state: _State) -> list[NewEvent]:
        """Return the event of a line, if it is not on record. Raises NotFound, Refused or InvalidEvent."""
        definition = check_known(state.portfolios[line.portfolio])
        limits: dict[str, int] = {}
        if actor.scope is not None:
            lineage = state.lineages[definition.client]
            if not actor.scope.includes(lineage):
                raise unknown("portfolio-unknown")
            limits = {stream_of(one.number): one.version for one in lineage}
        if definition.client_id is None:
            raise NotFound("client-unknown", "the identifier of the portfolio's client was erased")
        check_day("as_of", line.body.as_of, self.executor.authority.clock())
        event = HoldingsRecorded(**dict(line.body), client_id=definition.client_id, client=definition.client)
        newest = state.holdings.get(line.portfolio)
        if newest is not None and newest.members == event.model_dump(exclude_none=True):
            return []
        check_holdings(newest, line.body.as_of)
        version = 0 if newest is None else newest.version
        return [NewEvent(uuid7(), holdings_of(line.portfolio), event, actor, version, preconditions=limits)]


def _repeated(lines: Sequence[HoldingsLine]) -> list[tuple[str, str]]:
    """Return an error for each line about the portfolio of an earlier one: which would count?"""
    seen: dict[str, int] = {}
    errors = []
    for line in lines:
        first = seen.setdefault(line.portfolio, line.line)
        if first != line.line:
            errors.append((f"line {line.line}: portfolio", f"line {first} has the same portfolio"))
    return errors
