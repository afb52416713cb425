"""Endpoints, the messages of a run to them, and what became of each attempt to send one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from pydantic import ValidationError

from ledger.database import AsyncConnection
from ledger.domain.history import RecordedEvent
from ledger.domain.monitoring.delivery import (
    CATEGORY,
    Decided,
    Delivery,
    check_count,
    check_resend,
    fold,
    item,
    plans,
    stream_of,
    stream_of_endpoint,
    withheld,
)
from ledger.domain.monitoring.portfolio import CATEGORY as PORTFOLIOS
from ledger.errors import Conflict, NotFound, Unavailable
from ledger.service.command import Command
from ledger.service.execute import Executor
from ledger.service.monitoring.streams import read_states
from ledger.store.envelope import Actor, NewEvent
from ledger.store.events import Receipt
from ledger.store.head import database_time
from ledger.store.readers import Readers
from schema.events import (
    DefineEndpoint,
    DeliveryAttempted,
    DeliveryEnded,
    DeliveryResent,
    EndpointDefined,
    NotificationDecided,
    ResendDelivery,
)

HERE = Path(__file__).parent
ENDPOINTS = (HERE / "endpoints.sql").read_bytes()
DECIDED = (HERE / "decided.sql").read_bytes()
DECISIONS = (HERE / "decisions.sql").read_bytes()
SLOT = "SELECT take_delivery_slot(%s, %s)"
# The actor of the events about a delivery that the ledger itself records.
SENDER = Actor(id="advice-ledger", kind="service", role="sender")


@dataclass(frozen=True)
class Endpoint:
    """An endpoint as it is defined now."""

    name: str
    definition: DefineEndpoint
    defined_by: str
    position: int
    recorded_at: datetime


@dataclass(frozen=True)
class Message:
    """The decisions of a message that are still to be told. Without any, it is withheld, for `reason`."""

    decisions: Sequence[int]
    items: Sequence[Mapping[str, Any]]
    as_of: str
    reason: str


@dataclass(frozen=True)
class Deliveries:
    """Deliveries of what runs decided to tell. `sending` connects in the role writer; None where nothing is sent."""

    executor: Executor
    sending: Readers | None = None

    async def define(
        self, actor: Actor, name: str, body: DefineEndpoint, event_id: UUID | None = None
    ) -> tuple[Receipt, bool]:
        """Define an endpoint. False: it is defined so already. Raises Refused `too-many-endpoints`."""
        event, stream = EndpointDefined(**dict(body)), stream_of_endpoint(name)
        known = await self.endpoints()
        if name in known and known[name].definition == body:
            [history] = await self.executor.readers.streams(stream)
            found = await self.executor.find(history[-1].id)
            assert found is not None
            return found[0], False
        if name not in known:
            check_count(len(known))

        async def look() -> list[RecordedEvent]:
            [history] = await self.executor.readers.streams(stream)
            return history

        def decide(history: list[RecordedEvent], new_id: UUID) -> list[NewEvent]:
            return [NewEvent(new_id, stream, event, actor, len(history))]

        return await self.executor.execute(Command.of_event(actor, stream, event, event_id), look, decide), True

    async def endpoints(self) -> dict[str, Endpoint]:
        """Return all endpoints, in the order of names. A definition that no client can send is passed over."""

        async def work(conn: AsyncConnection) -> list[tuple[Any, ...]]:
            return await (await conn.execute(ENDPOINTS, prepare=True)).fetchall()

        found: dict[str, Endpoint] = {}
        for stream, data, *about in await self.executor.readers.run_short(work):
            with contextlib.suppress(ValidationError):
                name = stream.removeprefix("endpoint-")
                found[name] = Endpoint(name, DefineEndpoint.model_validate(data), *about)
        return found

    async def endpoint(self, name: str) -> Endpoint:
        """Return one endpoint. Raises NotFound `endpoint-unknown`."""
        found = (await self.endpoints()).get(name)
        if found is None:
            raise NotFound("endpoint-unknown", "there is no such endpoint")
        return found

    async def planned(self, run: int, started: RecordedEvent, actor: Actor) -> list[NewEvent]:
        """Return the messages of a run; none of a historical one. `started` is its first event."""
        endpoints = {name: endpoint.definition for name, endpoint in (await self.endpoints()).items()}
        if started.data["historical"] or not endpoints:
            return []
        decided = await self._decided(DECIDED, {"run": str(run), "after": started.position})
        return [
            NewEvent(new_id, CATEGORY, event, actor, "no_stream", causation=started.id)
            for new_id, event in plans(run, endpoints, decided)
        ]

    async def get(self, number: int) -> tuple[Delivery, list[RecordedEvent]]:
        """Return a message and its events. Raises NotFound `delivery-unknown`, StreamUnreadable, Unavailable."""
        [history] = await self.executor.readers.streams(stream_of(number))
        return fold(stream_of(number), history), history

    async def message(self, found: Delivery, base: str) -> Message:
        """Return what a message says now: people may have acted since it was planned."""
        decided = await self._decided(DECISIONS, {"positions": list(found.decisions)})
        names = sorted({one.portfolio for one in decided})
        states = await self.executor.readers.run(lambda conn: read_states(conn, names))
        now = await self.executor.readers.run_short(database_time)
        reasons = {one.position: withheld(states[one.portfolio], one, now) for one in decided}
        told = [one for one in decided if reasons[one.position] is None]
        items = [item(one, states[one.portfolio].alerts[one.alert], base) for one in told]
        reason = next((reason for reason in reasons.values() if reason is not None), "erased")
        return Message([one.position for one in told], items, decided[0].as_of, reason)

    async def take_slot(self, endpoint: Endpoint) -> float | None:
        """Note that a message is about to be sent; or return the seconds until the endpoint takes another one.

        All processes share the count. Raises Unavailable.
        """
        if self.sending is None:
            raise Unavailable("this process sends no messages")
        row = await self.sending.fetch_one(SLOT, [endpoint.name, endpoint.definition.messages_per_hour])
        return None if row is None or row[0] is None else float(row[0])

    async def begin(self, number: int, found: Delivery, event: DeliveryAttempted) -> Delivery | None:
        """Record an attempt before it is made; None if another process was first."""
        return await self._record(number, found, event)

    async def end(self, number: int, found: Delivery, event: DeliveryEnded) -> Delivery | None:
        """Record what became of the last attempt; None if another process has begun the next one."""
        return await self._record(number, found, event)

    async def resend(self, actor: Actor, number: int, body: ResendDelivery, event_id: UUID | None = None) -> Receipt:
        """Have a message sent again that was given up. Raises NotFound `delivery-unknown`, Refused
        `delivery-not-failed`.
        """
        event, stream = DeliveryResent(**dict(body)), stream_of(number)

        async def look() -> Delivery:
            return (await self.get(number))[0]

        def decide(found: Delivery, new_id: UUID) -> list[NewEvent]:
            check_resend(found)
            return [NewEvent(new_id, stream, event, actor, found.version, causation=found.id)]

        return await self.executor.execute(Command.of_event(actor, stream, event, event_id), look, decide)

    async def disable(self, name: str, cause: UUID) -> None:
        """Disable an endpoint that has answered 410. Another process or person may change it at the same time."""
        [history] = await self.executor.readers.streams(stream_of_endpoint(name))
        endpoint = await self.endpoint(name)
        event = EndpointDefined(**{**dict(endpoint.definition), "enabled": False})
        new = NewEvent(
            uuid5(history[-1].id, "gone"), stream_of_endpoint(name), event, SENDER, len(history), causation=cause
        )
        await self._append(new)

    async def _record(self, number: int, found: Delivery, event: DeliveryAttempted | DeliveryEnded) -> Delivery | None:
        new_id = uuid5(found.id, f"{found.version + 1}\n{event.type}")
        new = NewEvent(new_id, stream_of(number), event, SENDER, found.version, causation=found.id)
        return (await self.get(number))[0] if await self._append(new) else None

    async def _append(self, new: NewEvent) -> bool:
        """Append an event; False if another append came first, or made the same event."""
        try:
            [receipt] = await self.executor.writer.append([new])
        except Conflict:
            return False
        return not receipt.replayed

    async def _decided(self, query: bytes, parameters: Mapping[str, object]) -> list[Decided]:
        async def work(conn: AsyncConnection) -> list[tuple[Any, ...]]:
            return await (await conn.execute(query, parameters, prepare=True)).fetchall()

        found = []
        for position, stream, data in await self.executor.readers.run(work):
            with contextlib.suppress(ValidationError):
                told = NotificationDecided.model_validate(data)
                if told.receivers and not told.historical:
                    name = stream.removeprefix(PORTFOLIOS)
                    found.append(Decided(position, name, told.alert, told.about, told.receivers, told.as_of))
        return found
