"""Commands about clients: register, add an alias, merge, assign, end an assignment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from ledger.database import AsyncConnection
from ledger.domain import client as clients
from ledger.domain.client import CATEGORY, Client, Registration, number_of, stream_of
from ledger.errors import ClientTaken, InvalidEvent, Refused
from ledger.service.command import Command
from ledger.service.execute import Executor
from ledger.store.envelope import Actor, NewEvent
from ledger.store.events import Receipt
from ledger.store.readers import Readers
from schema.events import ClientAliased, ClientAssigned, ClientMerged, ClientRegistered, ClientUnassigned

NUMBERS = (
    "SELECT c.client_id, stream_number(c.stream, 'client-') FROM stream_clients c"
    " WHERE c.client_id = ANY (%s) AND c.stream LIKE 'client-%%'"
)
# A client's stream begins with its registration.
UNREGISTERED = (
    "SELECT min(number) FROM unnest(%s::bigint[]) number"
    " WHERE NOT EXISTS (SELECT FROM events WHERE stream = 'client-' || number AND version = 1)"
)
# The number of identifiers whose numbers this process remembers.
MOST_REMEMBERED = 50_000
# Identifiers that one query looks up.
MOST_ASKED = 500


async def _numbers(conn: AsyncConnection, client_ids: list[str]) -> list[int | None]:
    """Return the number under which each of these identifiers is registered, or None."""
    rows = await (await conn.execute(NUMBERS, [client_ids], prepare=True)).fetchall()
    found = dict(rows)
    return [found.get(client_id) for client_id in client_ids]


async def check_registered(readers: Readers, numbers: Collection[int] | None) -> None:
    """Check that each number of a grant's list is a client's. Raises InvalidEvent for the first that is not."""
    if numbers:
        row = await readers.fetch_one(UNREGISTERED, [list(numbers)])
        if row is not None and row[0] is not None:
            raise InvalidEvent("clients", f"names client {row[0]}, which does not exist")


@dataclass(frozen=True)
class ClientCommands:
    """Commands about clients, and the number of an identifier.

    The number of an identifier never changes until the client is erased, so it is remembered. All numbers are
    forgotten when this process erases a client, and when the database refuses an event that names an erased client.
    """

    executor: Executor
    registration: Registration = field(default_factory=Registration)
    _numbers: dict[str, int] = field(default_factory=dict)

    async def number(self, client_id: str) -> int | None:
        """Return the number under which the identifier is registered, or None. Raises Unavailable."""
        known = self._numbers.get(client_id)
        if known is None:
            [known] = await self.executor.readers.shared(_numbers, [client_id], most=MOST_ASKED)
        return None if known is None else self._remember(client_id, known)

    async def numbers(self, client_ids: Collection[str]) -> dict[str, int]:
        """Return the numbers of the identifiers that are registered. Raises Unavailable."""
        found = {client_id: self._numbers[client_id] for client_id in client_ids if client_id in self._numbers}
        if missing := [client_id for client_id in client_ids if client_id not in found]:
            numbers = await self.executor.readers.shared(_numbers, missing, most=MOST_ASKED)
            found |= {
                name: self._remember(name, number)
                for name, number in zip(missing, numbers, strict=True)
                if number is not None
            }
        return found

    def forget(self) -> None:
        """Forget the numbers, because a client was erased."""
        self._numbers.clear()

    async def number_by_request(self, actor: Actor, client_id: str) -> int:
        """Register an identifier without a number, assigned to `actor`, and return its number.

        Of several first requests at the same time, one registers it. Raises Refused `client-not-registered`,
        InvalidEvent.
        """
        self.registration.check_request()
        try:
            event = ClientRegistered(client_id=client_id, subject=actor.id)
            receipt = await self.register(replace(actor, scope=None), event)  # a new client is in no scope yet
        except Refused as refusal:
            if refusal.code == "client-registered" and "client" in refusal.facts:
                return int(refusal.facts["client"])
            raise
        return number_of(receipt.stream)

    async def register(self, actor: Actor, event: ClientRegistered, event_id: UUID | None = None) -> Receipt:
        """Register a client. Raises Refused `client-registered` with its number, InvalidEvent for its form."""

        async def look() -> None:
            """Return None: the state decides nothing, as the database refuses a second registration."""

        def decide(_state: None, new_id: UUID) -> list[NewEvent]:
            return [NewEvent(new_id, CATEGORY, event, actor, "no_stream")]

        self.registration.check(event.client_id)
        command = Command.of_event(actor, CATEGORY, event, event_id)
        return await self._named(event.client_id, self.executor.execute(command, look, decide))

    async def alias(self, actor: Actor, number: int, client_id: str, event_id: UUID | None = None) -> Receipt:
        """Register another identifier of a client. Raises as `register` does; NotFound; Refused `client-merged`."""

        def decide(client: Client, new_id: UUID) -> list[NewEvent]:
            clients.check_open(client)
            precondition = {stream_of(number): client.version}
            return [NewEvent(new_id, CATEGORY, event, actor, "no_stream", preconditions=precondition)]

        self.registration.check(client_id)
        event = ClientAliased(client_id=client_id, of=number)
        command = Command.of_event(actor, CATEGORY, event, event_id)
        return await self._named(
            client_id, self.executor.execute(command, lambda: self.executor.client(number), decide)
        )

    async def merge(self, actor: Actor, number: int, event: ClientMerged, event_id: UUID | None = None) -> Receipt:
        """Record that a client is the same as another one. Raises NotFound, Refused `client-merged` or InvalidEvent."""

        async def look() -> tuple[Client, Client]:
            first, second = await self.executor.readers.streams(stream_of(number), stream_of(event.into))
            return clients.fold(number, first), clients.fold(event.into, second)

        def decide(state: tuple[Client, Client], new_id: UUID) -> list[NewEvent]:
            client, into = state
            clients.check_merge(client, into)
            precondition = {stream_of(into.number): into.version}
            return [
                NewEvent(new_id, stream_of(number), event, actor, client.version, preconditions=precondition),
            ]

        return await self.executor.execute(Command.of_event(actor, stream_of(number), event, event_id), look, decide)

    async def assign(self, actor: Actor, number: int, event: ClientAssigned, event_id: UUID | None = None) -> Receipt:
        """Assign a client. Raises NotFound, Refused `client-merged` or `already-assigned`."""
        return await self._change(actor, number, event, event_id, lambda one: clients.check_assign(one, event))

    async def unassign(
        self, actor: Actor, number: int, event: ClientUnassigned, event_id: UUID | None = None
    ) -> Receipt:
        """End an assignment. Raises NotFound, Refused `client-merged` or `not-assigned`."""
        return await self._change(actor, number, event, event_id, lambda one: clients.check_unassign(one, event))

    async def _change(
        self,
        actor: Actor,
        number: int,
        event: ClientAssigned | ClientUnassigned,
        event_id: UUID | None,
        check: Callable[[Client], None],
    ) -> Receipt:
        def decide(client: Client, new_id: UUID) -> list[NewEvent]:
            check(client)
            return [NewEvent(new_id, stream_of(number), event, actor, client.version)]

        command = Command.of_event(actor, stream_of(number), event, event_id)
        return await self.executor.execute(command, lambda: self.executor.client(number), decide)

    async def _named(self, client_id: str, append: Coroutine[Any, Any, Receipt]) -> Receipt:
        """Await a registration.

        Raises Refused `client-registered`, which names the client that already has the identifier.
        """
        try:
            receipt = await append
        except ClientTaken:
            raise clients.already_registered(await self.number(client_id)) from None
        self._remember(client_id, number_of(receipt.stream))
        return receipt

    def _remember(self, client_id: str, number: int) -> int:
        if len(self._numbers) >= MOST_REMEMBERED:
            self._numbers.clear()  # they are read again when needed
        self._numbers[client_id] = number
        return number
