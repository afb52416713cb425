"""Commands about what is watched: portfolios, holdings, prices, monitoring policies, and what people do with alerts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from ledger.domain.case import fold_case
from ledger.domain.history import RecordedEvent
from ledger.domain.monitoring.policy import MonitoringText
from ledger.domain.monitoring.portfolio import (
    CATEGORY,
    Portfolio,
    check_act,
    check_definition,
    check_holdings,
    check_known,
    check_same_client,
    holdings_of,
    stream_of,
)
from ledger.domain.policy import Policy
from ledger.errors import InvalidEvent, NotFound, Refused
from ledger.proof.format.canonical import canonical
from ledger.service.clients import ClientCommands
from ledger.service.command import Command
from ledger.service.execute import Executor, unknown
from ledger.service.monitoring.facts import APPROVED
from ledger.service.monitoring.inputs import NAMED, policy_stream
from ledger.service.monitoring.streams import holdings_at, read_states
from ledger.store.envelope import Actor, NewEvent
from ledger.store.events import Receipt
from ledger.store.head import database_time
from schema.events import (
    AcknowledgeAlert,
    AlertAcknowledged,
    AlertClosed,
    AlertSilenced,
    CloseAlert,
    DefinePortfolio,
    Event,
    HoldingsRecorded,
    PolicyAdopted,
    PortfolioDefined,
    PricesRecorded,
    RecordHoldings,
    SilenceAlert,
)

EVENTS: dict[type[AcknowledgeAlert | SilenceAlert | CloseAlert], type[Event]] = {
    AcknowledgeAlert: AlertAcknowledged,
    SilenceAlert: AlertSilenced,
    CloseAlert: AlertClosed,
}


@dataclass(frozen=True)
class PortfolioCommands:
    """Commands about portfolios. What is recorded already, as it is sent, gets its first receipt."""

    executor: Executor
    clients: ClientCommands

    async def define(
        self, actor: Actor, name: str, body: DefinePortfolio, event_id: UUID | None = None
    ) -> tuple[Receipt, bool]:
        """Record a portfolio, or its other targets. False: they are on record already.

        Raises InvalidEvent, NotFound `client-unknown`, `policy-unknown` or `recommendation-unknown`, Refused
        `client-conflict` or `not-approved`.
        """
        check_definition(body)
        if body.assessed_on is not None:
            check_day("assessed_on", body.assessed_on, await self.executor.readers.run_short(database_time))
        client = await self.clients.number(body.client_id)
        if client is None:
            raise unknown("client-unknown")
        await self._check_scope(actor, client, "client-unknown")
        await self._check_policy(body.policy)
        if body.recommendation_id is not None:
            await self._check_recommendation(body.recommendation_id, client)
        event = PortfolioDefined(**dict(body), client=client)
        state = await self.state(name)
        if state.defined is not None and state.defined.members == event.model_dump(exclude_none=True):
            return await self._on_record(state.defined), False

        def decide(state: Portfolio, new_id: UUID) -> list[NewEvent]:
            check_same_client(state, client)
            return [NewEvent(new_id, stream_of(name), event, actor, state.version)]

        command = Command.of_event(actor, stream_of(name), event, event_id, "client")
        return await self.executor.execute(command, lambda: self.state(name), decide), True

    async def record_holdings(
        self, actor: Actor, name: str, body: RecordHoldings, event_id: UUID | None = None
    ) -> tuple[Receipt, bool]:
        """Record what a portfolio holds. False: it is on record already.

        Raises NotFound `portfolio-unknown` or `client-unknown`, InvalidEvent, Refused `holdings-out-of-order`.
        """
        check_day("as_of", body.as_of, await self.executor.readers.run_short(database_time))
        definition = check_known(await self.state(name))
        await self._check_scope(actor, definition.client, "portfolio-unknown")
        if definition.client_id is None:
            raise NotFound("client-unknown", "the identifier of the portfolio's client was erased")
        event = HoldingsRecorded(**dict(body), client_id=definition.client_id, client=definition.client)
        newest = await self._newest_holdings(name)
        if newest is not None and newest.members == event.model_dump(exclude_none=True):
            return await self._on_record(newest), False

        def decide(newest: RecordedEvent | None, new_id: UUID) -> list[NewEvent]:
            check_holdings(newest, body.as_of)
            return [NewEvent(new_id, holdings_of(name), event, actor, 0 if newest is None else newest.version)]

        command = Command.of_event(actor, holdings_of(name), event, event_id, "client_id", "client")
        command = replace(command, unknown="portfolio-unknown")
        return await self.executor.execute(command, lambda: self._newest_holdings(name), decide), True

    async def record_prices(
        self, actor: Actor, events: Sequence[PricesRecorded], event_id: UUID | None = None
    ) -> Receipt:
        """Record the parts of one file of prices, all or none. Raises InvalidEvent for a day in the future."""
        check_day("date", events[0].date, await self.executor.readers.run_short(database_time))
        stream = f"prices-{events[0].date}"

        async def look() -> None:
            """Return None: the state decides nothing, as a later record of a price corrects an earlier one."""

        def decide(_state: None, new_id: UUID) -> list[NewEvent]:
            ids = [UUID(int=new_id.int ^ part) for part in range(len(events) - 1, -1, -1)]
            return [NewEvent(each, stream, event, actor) for each, event in zip(ids, events, strict=True)]

        return await self.executor.execute(Command.of_event(actor, stream, events[-1], event_id), look, decide)

    async def adopt_policy(
        self, actor: Actor, name: str, text: MonitoringText, event_id: UUID | None = None
    ) -> tuple[Receipt, bool]:
        """Record a monitoring policy. False: it is in force already. Raises InvalidEvent."""
        if text.name != name:
            raise InvalidEvent("name", "must be the name in the path")
        members = text.model_dump(mode="json", exclude_unset=True, exclude_none=True)
        policy = Policy(f"{NAMED}{name}", text.version, hashlib.sha256(canonical(members)).hexdigest(), members)

        async def look() -> list[RecordedEvent]:
            [history] = await self.executor.readers.streams(policy.stream)
            return history

        history = await look()
        if policy.adoption(history) is None:
            return await self._on_record(history[-1]), False
        event = PolicyAdopted(version=policy.version, sha256=policy.sha256, policy=policy.text)

        def decide(history: list[RecordedEvent], new_id: UUID) -> list[NewEvent]:
            return [NewEvent(new_id, policy.stream, event, actor, len(history))]

        return await self.executor.execute(Command.of_event(actor, policy.stream, event, event_id), look, decide), True

    async def act(
        self,
        actor: Actor,
        alert_id: int,
        act: AcknowledgeAlert | SilenceAlert | CloseAlert,
        event_id: UUID | None = None,
    ) -> Receipt:
        """Record what a person does with an alert. Raises NotFound `alert-unknown`, Refused `alert-…`, InvalidEvent."""
        stream, raised = await self.executor.locate(alert_id, "alert.raised", "alert-unknown")
        name = stream.removeprefix(CATEGORY)
        [first] = await self._alert_numbers(raised)
        event = EVENTS[type(act)].model_validate({**dict(act), "alert": first})
        now = await self.executor.readers.run_short(database_time)

        def decide(state: Portfolio, new_id: UUID) -> list[NewEvent]:
            check_act(state, alert_id, act, now)
            return [NewEvent(new_id, stream, event, actor, state.version, causation=raised)]

        command = replace(Command.of_event(actor, stream, event, event_id), causation=raised, unknown="alert-unknown")
        return await self.executor.execute(command, lambda: self.state(name), decide)

    async def state(self, name: str) -> Portfolio:
        """Return the state of a portfolio as it is now. Raises Unavailable or StreamUnreadable."""
        return (await self.executor.readers.run_short(lambda conn: read_states(conn, [name])))[name]

    async def _alert_numbers(self, raised: UUID) -> list[int]:
        found = await self.executor.find(raised)
        return [] if found is None else [int(found[1].data["alert"])]

    async def _newest_holdings(self, name: str) -> RecordedEvent | None:
        return (await self.executor.readers.run_short(lambda conn: holdings_at(conn, [name]))).get(name)

    async def _on_record(self, event: RecordedEvent) -> Receipt:
        found = await self.executor.find(event.id)
        assert found is not None
        return found[0]

    async def _check_scope(self, actor: Actor, client: int, code: str) -> None:
        """Raise NotFound `code` if the client is not in the actor's scope: before anything is compared or told."""
        if actor.scope is not None and not actor.scope.includes(await self.executor.lineage(client)):
            raise unknown(code)

    async def _check_policy(self, name: str) -> None:
        [history] = await self.executor.readers.streams(policy_stream(name))
        if not history:
            raise NotFound("policy-unknown", "there is no monitoring policy of this name: record it first")

    async def _check_recommendation(self, recommendation_id: int, client: int) -> None:
        """Raise NotFound or Refused unless it is approved, and the client's."""
        code = "recommendation-unknown"
        stream, _ = await self.executor.locate(recommendation_id, "recommendation.recorded", code)
        [history] = await self.executor.readers.streams(stream)
        case = fold_case(history)
        if case.request is None or case.request.data.get("client") != client:
            raise NotFound(code, "there is no such recommendation for this client")
        current = case.recommendation
        if current is None or current.id != recommendation_id or current.state not in APPROVED:
            raise Refused("not-approved", "the recommendation is not approved, or not the current one")


def check_day(field: str, day: str, now: datetime) -> None:
    """Raise InvalidEvent for a day that has begun nowhere yet."""
    if day > (now + timedelta(hours=14)).date().isoformat():
        raise InvalidEvent(field, "must not be in the future")
