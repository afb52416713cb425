"""Commands about erasures of clients: look, request, decline, confirm."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from ledger.database import AsyncConnection
from ledger.domain import client as clients
from ledger.domain import erasure, legal_hold
from ledger.domain.client import number_of, stream_of
from ledger.domain.erasure import Erasure
from ledger.domain.history import RecordedEvent
from ledger.domain.policy import CATEGORY as POLICIES
from ledger.domain.retention import NAME as RETENTION
from ledger.erasure.eraser import Eraser, FoldAgain
from ledger.erasure.facts import Contents, read_contents
from ledger.errors import IdConflict, NotFound, Refused, Unavailable, VersionConflict
from ledger.service.authority import judged_as
from ledger.service.clients import ClientCommands
from ledger.service.command import Command
from ledger.service.execute import TRIES, Executor, encoded, limited
from ledger.service.policies import InForce, Policies
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from schema.events import (
    ClientErased,
    DeclineErasure,
    ErasureDeclined,
    ErasureRefused,
    ErasureRequested,
    ErasuresScrubbed,
    Forbidden,
    Reapplied,
    RequestErasure,
    ValuesErased,
)

# The members of a request that the ledger adds.
DERIVED = frozenset({"clients", "streams", "events", "values", "forbidden", "expires_at", "reapplies"})
UNKNOWN = "erasure-unknown"
# The stream of all scrubs. An erased client's own streams accept no further event.
SCRUBS = "scrubs"
# Returns the position of the state, and the numbers of all identifiers that share a client with a number.
Family = Callable[[AsyncConnection, int, float], Awaitable[tuple[int, list[int]]]]


@dataclass(frozen=True)
class Erasing:
    """The functions of the read models that erasures need. Read models are above this package."""

    fold_again: FoldAgain
    family: Family


@dataclass(frozen=True)
class Found:
    """A client as an erasure finds it: its numbers, erasures and contents, and the reasons that forbid it."""

    number: int
    version: int
    numbers: list[int]
    erasures: dict[int, Erasure]
    contents: Contents
    seen: int
    forbidden: Forbidden | None
    in_force: InForce

    @property
    def preconditions(self) -> dict[str, int]:
        """Return the versions of the streams of the client's other identifiers, because their holds count too."""
        others = [stream_of(number) for number in self.numbers if number != self.number]
        return {stream: self.contents.versions[stream] for stream in others}


@dataclass(frozen=True)
class ErasureCommands:
    """Commands about erasures. Without an eraser, this process records requests but erases nothing."""

    executor: Executor
    policies: Policies
    clients: ClientCommands
    patience_s: float
    eraser: Eraser | None = None
    family: Family | None = None

    def by(self, eraser: Eraser, family: Family) -> ErasureCommands:
        """Return the same commands with an eraser."""
        return replace(self, eraser=eraser, family=family)

    async def look(self, actor: Actor, number: int) -> Found:
        """Return the state that an erasure of the client would find now. Nothing is recorded.

        Raises NotFound `client-unknown`; Refused `client-merged` or `client-erased`.
        """
        command = Command(actor, stream_of(number), ErasureRequested, {})
        await self.executor.limits(actor, command)
        return await self._look(actor, number)

    async def request(
        self,
        actor: Actor,
        number: int,
        body: RequestErasure,
        event_id: UUID | None = None,
        reapplies: Reapplied | None = None,
    ) -> Receipt:
        """Record the request to erase a client; it waits for another subject.

        If something forbids it, that is recorded too, and raised: Refused `erasure-forbidden`. Raises Refused
        `erasure-waits`, and as `look` does.
        """

        def decide(found: Found, new_id: UUID) -> list[NewEvent]:
            erasure.check_none_waits(found.erasures, found.contents.now)
            event = ErasureRequested(
                **dict(body),
                clients=found.numbers,
                streams=len(found.contents.versions),
                events=found.contents.events,
                values=found.contents.values,
                forbidden=found.forbidden,
                expires_at=None if found.forbidden else erasure.expiry(found.contents.now),
                reapplies=reapplies,
            )
            new = NewEvent(new_id, stream_of(number), event, actor, found.version, preconditions=found.preconditions)
            return found.in_force.before(new)

        members = body.model_dump(exclude_none=True)
        command = Command(actor, stream_of(number), ErasureRequested, members, event_id, DERIVED)
        receipt = await self.executor.execute(command, lambda: self._look(actor, number), decide)
        self._raise_forbidden(await self._recorded(receipt.id), receipt.position)
        return receipt

    async def decline(
        self, actor: Actor, erasure_id: int, body: DeclineErasure, event_id: UUID | None = None
    ) -> Receipt:
        """Record that a waiting erasure was declined, or withdrawn by its requester.

        Raises NotFound `erasure-unknown`; Refused `erasure-answered` or `erasure-expired`.
        """
        stream, requested = await self.executor.locate(erasure_id, ErasureRequested.type, UNKNOWN)
        event = ErasureDeclined(erasure_id=erasure_id, **dict(body))

        async def look() -> list[RecordedEvent]:
            [history] = await self.executor.readers.streams(stream)
            return history

        def decide(history: list[RecordedEvent], new_id: UUID) -> list[NewEvent]:
            erasure.check_waits(erasure.fold(history), erasure_id, self.executor.authority.clock())
            return [NewEvent(new_id, stream, event, actor, len(history), causation=requested)]

        command = replace(Command.of_event(actor, stream, event, event_id), unknown=UNKNOWN)
        return await self.executor.execute(command, look, decide)

    async def confirm(
        self, actor: Actor, erasure_id: int, event_id: UUID | None = None, reapplies: Reapplied | None = None
    ) -> Receipt:
        """Erase the client, if nothing forbids it; return the receipt of `client.erased`.

        What does an erasure of two subjects again, `reapplies`, may be confirmed by whoever requested it.

        If something forbids it now, that is recorded and raised: Refused `erasure-forbidden`. Raises NotFound
        `erasure-unknown`; Refused `same-person`, `erasure-answered` or `erasure-expired`; Unavailable.
        """
        if self.eraser is None:
            raise Unavailable("this process erases nothing: confirm it at a server, or at the command line")
        stream, requested = await self.executor.locate(erasure_id, ErasureRequested.type, UNKNOWN)
        command = Command(actor, stream, ClientErased, {}, unknown=UNKNOWN)
        new_id = event_id or uuid7()
        for _ in range(TRIES):
            if (receipt := await self._answered(stream, erasure_id, event_id)) is not None:
                return receipt
            limits = await self.executor.limits(actor, command)
            found = await self._look(actor, number_of(stream))
            request = erasure.check_waits(found.erasures, erasure_id, found.contents.now)
            erasure.check_another(request, actor.id, again=reapplies is not None)
            try:
                if found.forbidden is not None:
                    event = ErasureRefused(erasure_id=erasure_id, forbidden=found.forbidden)
                    new = NewEvent(new_id, stream, event, actor, found.version, requested)
                    batch = found.in_force.before(replace(new, preconditions=found.preconditions))
                    await self.executor.writer.append_lines(await encoded(judged_as(actor, limited(batch, limits))))
                    raise erasure.refusal(found.forbidden, erasure_id)
                if found.in_force.adoptions:  # the text differs from that of the request
                    await self.executor.writer.append_lines(await encoded(found.in_force.adoptions))
                    continue
                events = self._events(actor, found, request, new_id, reapplies)
                lines = await encoded(judged_as(actor, limited(events, limits)))
                receipt = (await self.eraser.erase(lines, found.seen))[-1]
            except VersionConflict:
                actor = await self.executor.authority.judge(actor)
            except IdConflict:
                if event_id is None:
                    raise
            else:
                self.clients.forget()
                return receipt
        raise Refused("busy", "others are writing about this client; try again")

    async def record_scrub(self, actor: Actor, event: ErasuresScrubbed) -> Receipt:
        """Record that the files that held erased values were rewritten. Raises Unavailable."""
        lines = await encoded(judged_as(actor, [NewEvent(uuid7(), SCRUBS, event, actor)]))
        return (await self.executor.writer.append_lines(lines))[-1]

    async def erased_at(self, erasure_id: int) -> int:
        """Return the position of `client.erased`. Raises NotFound `erasure-unknown`, also if nothing was erased."""
        stream, _ = await self.executor.locate(erasure_id, ErasureRequested.type, UNKNOWN)
        [history] = await self.executor.readers.streams(stream)
        answer = erasure.fold(history)[erasure_id].answer
        if answer is None or answer.type != ClientErased.type:
            raise NotFound(UNKNOWN, "nothing was erased, so there is no certificate")
        return answer.position

    async def _look(self, actor: Actor, number: int) -> Found:
        if self.family is None:
            raise Unavailable("this process erases nothing: use a server, or the command line")
        family, readers = self.family, self.executor.readers
        [own] = await readers.streams(stream_of(number))
        clients.check_open(clients.fold(number, own))
        seen, numbers = await readers.run(lambda conn: family(conn, number, self.patience_s))
        streams = [stream_of(one) for one in numbers]
        *histories, policy = await readers.streams(*streams, f"{POLICIES}{RETENTION}")
        contents = await readers.run(lambda conn: read_contents(conn, streams))
        holds = [hold for history in histories for hold in legal_hold.active(history)]
        own = histories[numbers.index(number)]
        return Found(
            number=number,
            version=len(own),
            numbers=numbers,
            erasures=erasure.fold(own),
            contents=contents,
            seen=seen,
            forbidden=erasure.forbidden(holds, self.policies.retention.kept(contents.records), contents.now),
            in_force=self.policies.retention_in_force(policy, actor),
        )

    def _events(
        self, actor: Actor, found: Found, request: Erasure, new_id: UUID, reapplies: Reapplied | None
    ) -> list[NewEvent]:
        """Return the events of an erasure, that of the client last."""
        asked, contents = request.request, found.contents
        event = ClientErased(
            erasure_id=request.id,
            requested_by=asked.by,
            reason=asked.data["reason"],
            reference=asked.data.get("reference"),
            clients=found.numbers,
            streams=len(contents.versions),
            events=contents.events,
            values=contents.values,
            reapplies=reapplies,
        )
        own = stream_of(found.number)
        others: Sequence[NewEvent] = [
            NewEvent(_part(new_id, part), stream, ValuesErased(erasure_id=request.id), actor, version, asked.id)
            for part, (stream, version) in enumerate(sorted(contents.versions.items()), 1)
            if stream != own
        ]
        last = NewEvent(new_id, own, event, actor, found.version, asked.id, preconditions=found.in_force.preconditions)
        return [*others, last]

    async def _answered(self, stream: str, erasure_id: int, event_id: UUID | None) -> Receipt | None:
        """Return the receipt of a confirmation that was recorded with this key, or raise its refusal."""
        row = None if event_id is None else await self.executor.find(event_id)
        if row is None:
            return None
        receipt, event = row
        if (event.stream, event.data.get("erasure_id")) != (stream, erasure_id):
            raise IdConflict("this id is recorded with other content")
        self._raise_forbidden(event, erasure_id)
        if event.type != ClientErased.type:
            raise IdConflict("this id is recorded with other content")
        return receipt

    async def _recorded(self, event_id: UUID) -> RecordedEvent:
        row = await self.executor.find(event_id)
        assert row is not None, "it has a receipt"
        return row[1]

    @staticmethod
    def _raise_forbidden(event: RecordedEvent, erasure_id: int) -> None:
        why = event.data.get("forbidden")
        if why is not None:
            raise erasure.refusal(Forbidden.model_validate(why), erasure_id)


def _part(new_id: UUID, number: int) -> UUID:
    """Return the id of a part of an erasure, which is the same for each attempt."""
    return UUID(int=new_id.int ^ number)
