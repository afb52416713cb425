"""Commands about samples of decisions and the queue of their reviews: draw, reassign."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from ledger.database import AsyncConnection
from ledger.domain import review_items, sampling
from ledger.domain.history import RecordedEvent
from ledger.domain.review import JUDGED
from ledger.domain.sampling import CATEGORY, Facts, stream_of
from ledger.errors import InvalidEvent, NotFound
from ledger.service.command import Command
from ledger.service.execute import Executor
from ledger.service.policies import Policies
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from schema.samples import DrawSample, ReassignReview, ReviewAssigned, ReviewReassigned, SampleDrawn

ACTED = (Path(__file__).parent / "acted.sql").read_bytes()
REVIEW = "review cases"
# The members of a sample that the ledger adds.
DERIVED = frozenset({"method", "seed", "seed_from", "upto", "population", "population_digest", "chosen"})


@dataclass(frozen=True)
class Drawing:
    """The input of a draw: the decisions as of `upto`, the stream of each, and a number that may be free."""

    upto: int
    decisions: Sequence[Facts]
    streams: Mapping[int, str]
    number: int


@dataclass(frozen=True)
class _Drawn:
    """A sample as it would be recorded now, and the reviewers of the chosen decisions."""

    number: int
    event: SampleDrawn
    assigned: Sequence[str]
    streams: Mapping[int, str]

    def items(self, due_at: str | None) -> Iterator[tuple[str, ReviewAssigned]]:
        """Yield an item for each chosen decision, with the stream that it belongs to."""
        for position, assignee in zip(self.event.chosen, self.assigned, strict=True):
            item = ReviewAssigned(sample=self.number, decision_id=position, assignee=assignee, due_at=due_at)
            yield self.streams[position], item


@dataclass(frozen=True)
class SampleCommands:
    """Commands about samples, and about the items of their queues."""

    executor: Executor
    policies: Policies

    async def draw(
        self, actor: Actor, body: DrawSample, find: Callable[[], Awaitable[Drawing]], event_id: UUID | None = None
    ) -> Receipt:
        """Record a sample of the decisions that `find` returns, and an item for each chosen decision: all or none.

        Raises InvalidEvent `reviewers`; Refused `population-empty`, `population-too-large`, `no-reviewer` or `busy`;
        ClientErased if a client was erased meanwhile.
        """
        seed = body.seed or sampling.new_seed()

        async def look() -> _Drawn:
            await self._check_reviewers(body.reviewers)
            found = await find()
            event = await asyncio.to_thread(_drawn, body, found, seed)
            streams = {position: found.streams[position] for position in event.chosen}
            assigned = sampling.assign(event.chosen, body.reviewers, await self._acted(streams))
            return _Drawn(await self._free(found.number), event, assigned, streams)

        def decide(found: _Drawn, new_id: UUID) -> list[NewEvent]:
            items = [NewEvent(uuid7(), *item, actor, "any", new_id) for item in found.items(body.due_at)]
            # The sample comes last, because its receipt is that of the command.
            return [*items, NewEvent(new_id, stream_of(found.number), found.event, actor, "no_stream")]

        members = body.model_dump(exclude_none=True)
        command = Command(actor, CATEGORY, SampleDrawn, members, event_id, DERIVED)
        return await self.executor.execute(command, look, decide)

    async def get(self, number: int) -> RecordedEvent:
        """Return the event that drew a sample. Raises NotFound `sample-unknown`, Unavailable."""
        event = await self.executor.first(stream_of(number))
        if event is None or event.type != SampleDrawn.type:
            raise NotFound("sample-unknown", "there is no such sample")
        return event

    async def reassign(self, actor: Actor, item_id: int, body: ReassignReview, event_id: UUID | None = None) -> Receipt:
        """Give an item to another subject.

        Raises NotFound `review-item-unknown`; InvalidEvent `assignee`; Refused `review-item-closed`, `same-person`,
        `already-assigned`.
        """
        stream, assigned = await self.executor.locate(item_id, ReviewAssigned.type, "review-item-unknown")

        async def look() -> Sequence[RecordedEvent]:
            await self._check_reviewers([body.assignee], "assignee")
            [history] = await self.executor.readers.streams(stream)
            return history

        def decide(history: Sequence[RecordedEvent], new_id: UUID) -> list[NewEvent]:
            event = review_items.reassign(history, item_id, body)
            return [NewEvent(new_id, stream, event, actor, len(history), assigned)]

        members = {"item_id": item_id, **body.model_dump(exclude_none=True)}
        command = Command(actor, stream, ReviewReassigned, members, event_id, unknown="review-item-unknown")
        return await self.executor.execute(command, look, decide)

    async def _free(self, number: int) -> int:
        """Return the first number from this one on that no sample has."""
        while (await self.executor.readers.streams(stream_of(number)))[0]:
            number += 1
        return number

    async def _check_reviewers(self, names: Iterable[str], field: str = "reviewers") -> None:
        """Raise InvalidEvent unless each subject may now review the cases of all clients."""
        authority, access = self.executor.authority, self.policies.access
        for name in names:
            state = await authority.state(name)
            roles = access.roles_of(REVIEW, state, authority.clock())
            reaches = [
                role for role in roles if access.scope(REVIEW, role) == "all" and state.grants[role].clients is None
            ]
            if not reaches or state.suspended or state.kind != "human":
                raise InvalidEvent(field, f"{name} must be a person who may review the cases of all clients now")

    async def _acted(self, streams: Mapping[int, str]) -> dict[int, frozenset[str]]:
        """Return the subjects who acted in the case of each decision."""
        acted = await acted_in(self.executor, streams.values())
        return {position: acted.get(stream, frozenset()) for position, stream in streams.items()}


async def acted_in(executor: Executor, streams: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return the subjects who acted in the cases of these streams, by stream."""

    async def work(conn: AsyncConnection) -> dict[str, frozenset[str]]:
        cursor = await conn.execute(ACTED, {"streams": sorted(set(streams)), "types": sorted(JUDGED)})
        return {stream: frozenset(names) for stream, names in await cursor.fetchall()}

    return await executor.readers.run(work)


def _drawn(body: DrawSample, found: Drawing, seed: str) -> SampleDrawn:
    population = sampling.population(found.upto, found.decisions, body.weights or [])
    return SampleDrawn(
        **{**dict(body), "seed": seed},
        method=sampling.METHOD,
        seed_from="server" if body.seed is None else "caller",
        upto=population.upto,
        population=len(population.members),
        population_digest=population.digest,
        chosen=sampling.draw(population.members, seed, body.size),
    )
