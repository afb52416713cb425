"""Execute a command: read the state, decide, append at the versions that were read, and start again on a conflict."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID

from ledger.domain.client import CATEGORY, Client, number_of, stream_of
from ledger.domain.client import fold as fold_client
from ledger.domain.history import RecordedEvent
from ledger.errors import IdConflict, NotFound, Refused, VersionConflict
from ledger.service.authority import Authority, judged_as
from ledger.service.command import Command
from ledger.service.signatures import Signatures
from ledger.store import events as store
from ledger.store.envelope import Actor, Line, NewEvent, encode, is_small, uuid7
from ledger.store.events import Receipt
from ledger.store.readers import Readers
from ledger.store.writer import Writer

T = TypeVar("T")

# A conflict means that another append to the same stream came first. After this many, the command is refused as `busy`.
TRIES = 10
# Events with their sealed values that one query reads: each may have megabytes.
MOST_FOUND = 20


@dataclass(frozen=True)
class Executor:
    """The store as commands use it: reads through `readers`, appends through `writer`, rights by `authority`."""

    writer: Writer
    readers: Readers
    signatures: Signatures
    authority: Authority

    async def execute(
        self, command: Command, look: Callable[[], Awaitable[T]], decide: Callable[[T, UUID], list[NewEvent]]
    ) -> Receipt:
        """Append the events that `decide` makes of the state that `look` reads; return the receipt of the last one.

        The last event is the command's own; events before it are what it needs on record. A command that is already
        recorded gets its first receipt. If the subject of the actor changes meanwhile, it is judged anew.
        Raises Refused, NotFound, InvalidEvent, IdConflict or Unavailable.
        """
        new_id = command.event_id or uuid7()
        actor = command.actor
        for _ in range(TRIES):
            receipt = await self._repeated(command)
            if receipt is not None:
                return receipt
            try:
                limits = await self.limits(actor, command)
                events = limited(decide(await look(), new_id), limits)
            except Refused:
                # The same command may have been recorded since the look-up above, and may be the reason for the
                # refusal.
                if command.event_id is None or await self.find(command.event_id) is None:
                    raise
                continue
            lines = await self._lines(command, judged_as(actor, events))
            try:
                return (await self.writer.append_lines(lines))[-1]
            except VersionConflict:
                actor = await self.authority.judge(actor)
            except IdConflict:
                if command.event_id is None:
                    raise
        raise Refused("busy", "other callers are writing to this stream; try again")

    async def execute_all(
        self, actor: Actor, look: Callable[[], Awaitable[T]], decide: Callable[[T], list[NewEvent]]
    ) -> list[Receipt]:
        """Append all events that `decide` makes of the state that `look` reads, or none; return their receipts.

        For commands that change nothing if they are sent again, and so need no key. `decide` sees to the actor's scope.
        Raises what `decide` raises, Refused or Unavailable.
        """
        for _ in range(TRIES):
            events = decide(await look())
            if not events:
                return []
            lines = await encoded(judged_as(actor, events))
            try:
                return await self.writer.append_lines(lines)
            except VersionConflict:
                actor = await self.authority.judge(actor)
        raise Refused("busy", "other callers are writing to these streams; try again")

    async def _lines(self, command: Command, events: list[NewEvent]) -> list[Line]:
        """Encode the events. If the command is signed, verify the signature. Raises Refused `signature-…`."""
        if command.signature is None:
            return await encoded(events)
        keys = await self.signatures.keys_of(command.actor.id, command.signature.key)
        lines = await encoded([*events[:-1], keys.signed(events[-1], command.signature)])
        await asyncio.to_thread(self.signatures.check, keys, lines[-1])
        return lines

    async def limits(self, actor: Actor, command: Command) -> dict[str, int]:
        """Return the preconditions that keep the command's client in the actor's scope; none if that is all clients.

        Raises NotFound, as if there were no such client, recommendation or decision.
        """
        if actor.scope is None:
            return {}
        number = await self._client_of(command)
        lineage = [] if number is None else await self.lineage(number)
        if not lineage or not lineage[0].known or not actor.scope.includes(lineage):
            raise unknown(command.unknown)
        versions = {stream_of(client.number): client.version for client in lineage}
        return {stream: version for stream, version in versions.items() if stream != command.stream}

    async def _client_of(self, command: Command) -> int | None:
        """Return the number of the client that a command is about, or None if there is none on record."""
        if command.stream.startswith(CATEGORY) and command.stream != CATEGORY:
            return number_of(command.stream)
        number: int | None = command.members.get("client", command.members.get("of"))
        if number is None and not command.stream.endswith("-"):
            opening = await self.first(command.stream)
            number = None if opening is None else opening.data.get("client")
        return number

    async def client(self, number: int) -> Client:
        """Return the state of a client's own stream. Raises Unavailable."""
        [history] = await self.readers.streams(stream_of(number))
        return fold_client(number, history)

    async def lineage(self, number: int) -> list[Client]:
        """Return the client, the one that it was merged into, and so on. The actor's scope must contain one of them."""
        found = [await self.client(number)]
        while (into := found[-1].merged_into) is not None:
            found.append(await self.client(into))
        return found

    async def append_once(self, command: Command, new: NewEvent) -> Receipt:
        """Append the one event of a command that depends on no state, without a look at the ledger first.

        If it is recorded already, perhaps with another credential of the same subject, return its first receipt. An
        actor with a scope is judged first.
        """

        async def look() -> None:
            """Return None: the state decides nothing."""

        if command.actor.scope is None:
            with contextlib.suppress(VersionConflict, IdConflict):
                return (await self.writer.append([new]))[0]
        return await self.execute(command, look, lambda _state, new_id: [replace(new, id=new_id)])

    async def locate(self, position: int, kind: str, code: str) -> tuple[str, UUID]:
        """Return stream and id of the event at a position. Raises NotFound `code` unless the event has type `kind`."""
        row = await self.readers.run_short(lambda conn: store.locate(conn, position))
        if row is None or row[1] != kind:
            raise unknown(code)
        return row[0], row[2]

    async def _repeated(self, command: Command) -> Receipt | None:
        """Return the first receipt of a repeated command. Raises IdConflict if its key was used for another command."""
        row = None if command.event_id is None else await self.find(command.event_id)
        if row is None:
            return None
        receipt, event = row
        if not await asyncio.to_thread(command.is_repeated_by, event):
            raise IdConflict("this id is recorded with other content")
        return receipt

    async def find(self, event_id: UUID) -> tuple[Receipt, RecordedEvent] | None:
        """Return the event with this id, with its sealed values, or None. Raises Unavailable."""
        [found] = await self.readers.shared(store.find, [event_id], most=MOST_FOUND)
        return found

    async def first(self, stream: str) -> RecordedEvent | None:
        """Return the first event of a stream, without its sealed values, or None. Raises Unavailable."""
        return await self.readers.run_short(lambda conn: store.first(conn, stream))

    async def deciding(self, stream: str, types: Sequence[str]) -> list[RecordedEvent]:
        """Return the events of these types in a stream, and its last event. Raises Unavailable."""
        return await self.readers.run_short(lambda conn: store.deciding(conn, stream, types))

    async def recorded(self, event_ids: Sequence[UUID]) -> set[UUID]:
        """Return those of these ids that are recorded. Raises Unavailable."""
        return await self.readers.run_short(lambda conn: store.recorded(conn, event_ids))


def limited(events: list[NewEvent], limits: Mapping[str, int]) -> list[NewEvent]:
    """Return the events of a command, recorded only if these streams are at these versions then."""
    if not limits:
        return events
    return [*events[:-1], replace(events[-1], preconditions={**limits, **events[-1].preconditions})]


def unknown(code: str) -> NotFound:
    """Return the refusal for an item that does not exist or is not in scope: callers cannot tell which."""
    return NotFound(code, f"there is no such {code.removesuffix('-unknown').replace('-', ' ')}")


async def encoded(events: list[NewEvent]) -> list[Line]:
    """Encode the events, in a thread: canonical JSON of a large answer takes seconds, and other callers must not
    wait."""
    if all(is_small(new.event) for new in events):
        return [encode(new) for new in events]
    return await asyncio.to_thread(lambda: [encode(new) for new in events])
