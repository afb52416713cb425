"""Record ready valuations of a custodian: all of a batch, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.domain.monitoring.custody import RECEIVED, VALUATION
from ledger.service.execute import Executor
from ledger.service.monitoring.bulk_holdings import BulkHoldings, ValuationLine
from ledger.service.monitoring.streams import read_streams
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from schema.events import ValuationRecorded, ValuationsReceived


@dataclass(frozen=True)
class BulkValuations:
    """The command that records valuations in batches, as BulkHoldings records holdings."""

    executor: Executor

    async def record(self, actor: Actor, lines: Sequence[ValuationLine]) -> list[Receipt]:
        """Record the valuations that are not on record; return their receipts. Raises InvalidLines as for holdings.

        A source and a day that are new are recorded in clear after them: the age of a valuation counts such days.
        """
        receipts = await BulkHoldings(self.executor, ValuationRecorded, VALUATION).record(actor, lines)
        await self._receive(actor, sorted({(line.body.as_of, line.body.source) for line in lines}))
        return receipts

    async def _receive(self, actor: Actor, sent: Sequence[tuple[str, str]]) -> None:
        async def look() -> dict[str, tuple[int, set[str]]]:
            streams = [RECEIVED + day for day, _ in sent]
            found = await self.executor.readers.run(lambda conn: read_streams(conn, streams))
            return {
                stream.removeprefix(RECEIVED): (events[-1].version, {str(one.data.get("source")) for one in events})
                for stream, events in found.items()
            }

        def decide(known: dict[str, tuple[int, set[str]]]) -> list[NewEvent]:
            events = []
            for day, source in sent:
                version, sources = known.get(day, (0, set()))
                if source not in sources:
                    event = ValuationsReceived(source=source, date=day)
                    events.append(NewEvent(uuid7(), RECEIVED + day, event, actor, version))
                    known[day] = version + 1, {*sources, source}
            return events

        await self.executor.execute_all(actor, look, decide)
