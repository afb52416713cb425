"""What people make of an answer: open it, decide, confirm, tell the client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from uuid import UUID

from ledger.domain import agent as agents
from ledger.domain import case as cases
from ledger.domain import recommendation as decisions
from ledger.domain.case import Case, Recommendation
from ledger.domain.recommendation import Edited, Verdict
from ledger.service.command import Said
from ledger.service.execute import Core
from ledger.service.policies import InForce
from ledger.store import events
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from schema.events import (
    RecommendationCommunicated,
    RecommendationConfirmed,
    RecommendationDecided,
    RecommendationOpened,
    RecommendationReplayed,
)

# Members of a decision that come from the policies and not from who decides.
DERIVED = frozenset({"reason_group", "reason_codes_version", "needs_second", "second_rules", "four_eyes_version"})


class Deciding(Core):
    """Commands about recommendations."""

    async def open(self, actor: Actor, recommendation_id: int, digest: str, event_id: UUID | None = None) -> Receipt:
        """Records that a person has the recommendation before them."""

        def decide(case: Case, new_id: UUID) -> list[NewEvent]:
            event = decisions.open_(case, recommendation_id, digest)
            return [NewEvent(new_id, stream, event, actor, case.version, _answered(case))]

        stream = await self._stream_of_recommendation(recommendation_id)
        members = {"recommendation_id": recommendation_id, "digest": digest}
        said = Said(actor, stream, RecommendationOpened, members, event_id)
        return await self._deciding(said, decide)

    async def decide(
        self, actor: Actor, recommendation_id: int, verdict: Verdict, event_id: UUID | None = None
    ) -> Receipt:
        """Records a decision, and before it the policies that it is made under, where they are not on record yet."""
        stream = await self._stream_of_recommendation(recommendation_id)
        members = {name: value for name, value in asdict(verdict).items() if value is not None}
        members["recommendation_id"] = recommendation_id
        said = Said(actor, stream, RecommendationDecided, members, event_id, DERIVED)

        async def look() -> tuple[Case, InForce, Edited | None]:
            case, policies = await self._with_policies(stream, actor)
            # Only an edit is measured against what it edits.
            return case, policies, await self._edited(case) if verdict.outcome == "edit" else None

        def settle(seen: tuple[Case, InForce, Edited | None], new_id: UUID) -> list[NewEvent]:
            case, policies, edited = seen
            four_eyes, reasons = self.policies.four_eyes, self.policies.reasons
            event = decisions.decide(case, recommendation_id, verdict, edited, four_eyes, reasons)
            new = NewEvent(
                new_id, stream, event, actor, case.version, _answered(case), preconditions=policies.preconditions
            )
            return [*policies.adoptions, new]

        return await self.carry_out(said, look, settle)

    async def confirm(
        self, actor: Actor, recommendation_id: int, event: RecommendationConfirmed, event_id: UUID | None = None
    ) -> Receipt:
        """Records what the second person says to a decision; the policy in force says who that may be."""

        def settle(seen: tuple[Case, InForce], new_id: UUID) -> list[NewEvent]:
            case, policies = seen
            four_eyes = self.policies.four_eyes
            confirmed = decisions.confirm(case, recommendation_id, event, actor.id, actor.role, four_eyes)
            new = NewEvent(
                new_id, stream, confirmed, actor, case.version, _answered(case), preconditions=policies.preconditions
            )
            return [*policies.adoptions, new]

        stream = await self._stream_of_recommendation(recommendation_id)
        said = Said.event(actor, stream, event, event_id, "four_eyes_version")
        return await self.carry_out(said, lambda: self._with_policies(stream, actor), settle)

    async def communicate(
        self, actor: Actor, recommendation_id: int, event: RecommendationCommunicated, event_id: UUID | None = None
    ) -> Receipt:
        """Records what the client was told."""

        def decide(case: Case, new_id: UUID) -> list[NewEvent]:
            told = decisions.communicate(case, recommendation_id, event)
            return [NewEvent(new_id, stream, told, actor, case.version, _answered(case))]

        stream = await self._stream_of_recommendation(recommendation_id)
        return await self._deciding(Said.event(actor, stream, event, event_id), decide)

    async def replayed(self, actor: Actor, stream: str, event: RecommendationReplayed) -> Receipt:
        """Records that a recommendation was replayed."""
        return (await self.writer.append([NewEvent(uuid7(), stream, event, actor, "stream_exists")]))[0]

    async def standing_after(self, at: Receipt) -> Recommendation:
        """The recommendation as it stood right after one of these commands, also when that is repeated later."""
        [history] = await self.readers.streams(at.stream)
        found = cases.fold(history[: at.version]).recommendation
        assert found is not None, "each of these commands is about a recommendation"
        return found

    async def _deciding(self, said: Said, decide: Callable[[Case, UUID], list[NewEvent]]) -> Receipt:
        async def look() -> Case:
            [history] = await self.readers.streams(said.stream)
            return cases.fold(history)

        return await self.carry_out(said, look, decide)

    async def _with_policies(self, stream: str, actor: Actor) -> tuple[Case, InForce]:
        names = (policy.stream for policy in self.policies.all)
        history, *adopted = await self.readers.streams(stream, *names)
        return cases.fold(history), self.policies.in_force(adopted, actor)

    async def _edited(self, case: Case) -> Edited | None:
        current = case.recommendation
        if current is None:
            return None
        [history] = await self.readers.streams(agents.stream_of(current.event.by))
        sealed = await self.readers.run(lambda conn: events.sealed(conn, current.id))
        return Edited(sealed.get("recommendation"), agents.fold(history).answer_schema)

    async def _stream_of_recommendation(self, recommendation_id: int) -> str:
        stream, _ = await self.locate(recommendation_id, "recommendation.recorded", "recommendation-unknown")
        return stream


def _answered(case: Case) -> UUID | None:
    return case.recommendation.event.id if case.recommendation else None
