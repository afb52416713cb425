"""Open requests for advice about portfolios, by hand and for the alerts of a run."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from ledger.domain.monitoring import rebalancing
from ledger.domain.monitoring.drift import Judgement
from ledger.domain.monitoring.portfolio import Portfolio, check_alert, check_known, request_id_of, stream_of
from ledger.errors import InvalidEvent, NotFound
from ledger.service.command import Command
from ledger.service.execute import Executor
from ledger.service.monitoring.advice import open_request, request_number, with_request
from ledger.service.monitoring.inputs import read_inputs
from ledger.service.monitoring.runs import MonitoringRuns
from ledger.service.monitoring.streams import read_states
from ledger.store.envelope import Actor, NewEvent
from ledger.store.events import Receipt
from schema.events import RebalancingDecided, RequestRebalancing


class Opened(NamedTuple):
    """The request that a portfolio's rebalancing is handled in. `joined`: it was open already."""

    receipt: Receipt
    request_id: int
    joined: bool


@dataclass(frozen=True)
class _Look:
    """The state that a request by hand is decided on. `open_request` is the number of the one that is open."""

    state: Portfolio
    open_request: int | None


@dataclass(frozen=True)
class _Judged:
    judgement: Judgement | None = None
    as_of: str | None = None
    amount: Decimal | None = None


@dataclass(frozen=True)
class RebalancingCommands:
    """Requests of people to rebalance a portfolio."""

    executor: Executor
    runs: MonitoringRuns

    async def request(self, actor: Actor, name: str, body: RequestRebalancing, event_id: UUID | None = None) -> Opened:
        """Open a request for advice, or join the one that is open.

        Raises NotFound `portfolio-unknown`, `client-unknown` or `alert-unknown`, Refused `alert-closed`, InvalidEvent.
        """
        judged, cause = await self._judged(name), None
        if body.alert is not None:
            _, cause = await self.executor.locate(body.alert, "alert.raised", "alert-unknown")

        async def look() -> _Look:
            state = (await self.executor.readers.run_short(lambda conn: read_states(conn, [name])))[name]
            return _Look(state, await open_request(self.executor, state))

        def decide(found: _Look, new_id: UUID) -> list[NewEvent]:
            definition = check_known(found.state)
            if definition.client_id is None:
                raise NotFound("client-unknown", "the identifier of the portfolio's client was erased")
            alert = None if body.alert is None else check_alert(found.state, body.alert)
            event = RebalancingDecided(
                outcome="opened" if found.open_request is None else "joined",
                alert=None if alert is None else alert.number,
                request=found.open_request,
                **body.model_dump(exclude={"alert"}),
            )
            decided = NewEvent(new_id, stream_of(name), event, actor, found.state.version, causation=cause)
            if found.open_request is not None:
                return [decided]
            amount = body.amount_usd or judged.amount
            if amount is None:
                raise InvalidEvent("amount_usd", "the newest run knows no value of the portfolio in USD: name it")
            trigger = "a person asks for it" if alert is None else f"a person asks for it, about the alert {body.alert}"
            notes = rebalancing.notes(name, trigger, judged.judgement, judged.as_of)
            new = rebalancing.request(name, definition, amount, notes, body.horizon_years)
            return with_request(decided, new)

        command = Command(
            actor,
            stream_of(name),
            RebalancingDecided,
            body.model_dump(exclude_none=True, exclude={"alert"}),
            event_id,
            frozenset({"outcome", "alert", "request"}),
            cause,
            unknown="portfolio-unknown",
        )
        receipt = await self.executor.execute(command, look, decide)
        return await self._opened(receipt)

    async def _opened(self, receipt: Receipt) -> Opened:
        """Return the request that the event at this position opened or joined."""
        row = await self.executor.find(receipt.id)
        assert row is not None
        if (joined := row[1].data.get("request")) is not None:
            return Opened(receipt, joined, joined=True)
        number = await request_number(self.executor, request_id_of(receipt.id))
        assert number is not None
        return Opened(receipt, number, joined=False)

    async def _judged(self, name: str) -> _Judged:
        """Return what the newest completed run found about the portfolio."""
        run = await self.runs.newest()
        if run is None:
            return _Judged()
        inputs = await self.executor.readers.run(lambda conn: read_inputs(conn, run, name))
        if name not in inputs.names:
            return _Judged()
        judgement, definition = inputs.judge(name), inputs.definitions[name]
        rates = inputs.conditions[definition.policy].rates
        return _Judged(judgement, run.at, rebalancing.amount_usd(judgement, rates, definition.base))
