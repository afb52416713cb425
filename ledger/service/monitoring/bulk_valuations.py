"""Record ready valuations of a custodian: all of a batch, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.domain.monitoring.custody import RECEIVED, VALUATION
from ledger.service.execute import Executor
from ledger.service.monitoring.bulk_holdings import BulkHoldings, StateOfMany, ValuationLine
from ledger.service.monitoring.streams import read_streams
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from schema.events import ValuationRecorded, ValuationsReceived

# By day, the version of its stream, and the sources that have sent valuations of it.
Received = Mapping[str, tuple[int, frozenset[str]]]


@dataclass(frozen=True)
class BulkValuations:
    """The command that records valuations in batches, as BulkHoldings records holdings."""

    executor: Executor

    async def record(self, actor: Actor, lines: Sequence[ValuationLine]) -> list[Receipt]:
        """Record the valuations that are not on record; return their receipts. Raises InvalidLines as for holdings.

        A source and a day that are new are recorded in clear with them, in one append: the age of a valuation counts
        such days. So a process that is killed leaves both or none.
        """
        many = BulkHoldings(self.executor, ValuationRecorded, VALUATION)
        sent = sorted({(line.body.as_of, line.body.source) for line in lines})

        async def look() -> tuple[StateOfMany, Received]:
            return await many.look(actor, lines), await self._received({day for day, _ in sent})

        def decide(state: tuple[StateOfMany, Received]) -> list[NewEvent]:
            portfolios, received = state
            return many.decide(actor, lines, portfolios) + _new(actor, sent, received)

        receipts = await self.executor.execute_all(actor, look, decide)
        return [receipt for receipt in receipts if not receipt.stream.startswith(RECEIVED)]

    async def _received(self, days: set[str]) -> Received:
        streams = [RECEIVED + day for day in sorted(days)]
        found = await self.executor.readers.run(lambda conn: read_streams(conn, streams))
        return {
            stream.removeprefix(RECEIVED): (
                events[-1].version,
                frozenset(str(one.data.get("source")) for one in events),
            )
            for stream, events in found.items()
        }


def _new(actor: Actor, sent: Sequence[tuple[str, str]], received: Received) -> list[NewEvent]:
    """Return an event for each day and source that is not on record. `sent` is in the order of days."""
    events: list[NewEvent] = []
    ahead: dict[str, int] = {}
    for day, source in sent:
        version, sources = received.get(day, (0, frozenset()))
        if source not in sources:
            event = ValuationsReceived(source=source, date=day)
            events.append(NewEvent(uuid7(), RECEIVED + day, event, actor, version + ahead.get(day, 0)))
            ahead[day] = ahead.get(day, 0) + 1
    return events
