"""Record which alerts nobody acknowledged in time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from ledger.database import AsyncConnection
from ledger.domain.monitoring.escalation import escalation_id, escalations
from ledger.domain.monitoring.policy import MonitoringText
from ledger.domain.monitoring.portfolio import CATEGORY, Portfolio, stream_of
from ledger.errors import ClientErased, IdConflict, VersionConflict
from ledger.service.authority import judged_as
from ledger.service.execute import Executor, encoded
from ledger.service.monitoring.inputs import PORTFOLIOS, read_policies
from ledger.service.monitoring.streams import NOW, read_states
from ledger.store.envelope import Actor, NewEvent
from ledger.store.head import database_time

# The portfolios that are read at once.
AT_ONCE = 200


@dataclass(frozen=True)
class Escalations:
    """Alerts that are overdue. Two processes may look at the same time: each level is recorded once."""

    executor: Executor

    async def escalate(self, actor: Actor) -> int:
        """Record each level that is due by the database's clock; return how many were recorded by this call.

        A portfolio that somebody else acts on meanwhile is left to the next call.
        """
        names = await self.executor.readers.run(_names)
        recorded = 0
        for first in range(0, len(names), AT_ONCE):
            chunk = names[first : first + AT_ONCE]
            states = await self.executor.readers.run(partial(read_states, names=chunk))
            recorded += await self._escalate(actor, [state for state in states.values() if _has_open(state)])
        return recorded

    async def _escalate(self, actor: Actor, states: list[Portfolio]) -> int:
        named = {state.definition.policy for state in states if state.definition is not None}
        policies = await self.executor.readers.run(lambda conn: read_policies(conn, named))
        now = await self.executor.readers.run(database_time)
        recorded = 0
        for state in states:
            policy = policies.get(state.definition.policy) if state.definition is not None else None
            if policy is not None:
                recorded += await self._record(actor, state, policy[0], now)
        return recorded

    async def _record(self, actor: Actor, state: Portfolio, policy: MonitoringText, now: datetime) -> int:
        events = [
            NewEvent(
                escalation_id(state.name, event),
                stream_of(state.name),
                event,
                actor,
                state.version + ahead,
                causation=watched.raised,
            )
            for ahead, (watched, event) in enumerate(escalations(state, policy, now))
        ]
        if not events:
            return 0
        try:
            receipts = await self.executor.writer.append_lines(await encoded(judged_as(actor, events)))
        except (VersionConflict, IdConflict, ClientErased):
            return 0
        return sum(not receipt.replayed for receipt in receipts)


def _has_open(state: Portfolio) -> bool:
    return not state.erased and any(watched.alert.is_open for watched in state.alerts.values())


async def _names(conn: AsyncConnection) -> list[str]:
    rows = await (await conn.execute(PORTFOLIOS, {"upto": NOW}, prepare=True)).fetchall()
    return [stream.removeprefix(CATEGORY) for stream, _ in rows]
