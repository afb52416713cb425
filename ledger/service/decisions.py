"""What people make of an answer: open it, decide, confirm, tell the client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from ledger.domain import agent as agents
from ledger.domain import case as cases
from ledger.domain import recommendation as decisions
from ledger.domain.case import Case, Recommendation
from ledger.domain.recommendation import Edited
from ledger.service.command import Said
from ledger.service.execute import Core
from ledger.service.policies import InForce
from ledger.store import events
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from schema.events import (
    Communicate,
    Confirm,
    Decide,
    Open,
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

    async def open(self, actor: Actor, recommendation_id: int, body: Open, event_id: UUID | None = None) -> Receipt:
        """Records that a person has the recommendation before them."""

        def decide(case: Case, new_id: UUID) -> list[NewEvent]:
            event = decisions.open_(case, recommendation_id, body)
            return [NewEvent(new_id, stream, event, actor, case.version, _answered(case))]

        stream = await self._stream_of_recommendation(recommendation_id)
        said = Said(actor, stream, RecommendationOpened, _members(body, recommendation_id), event_id)
        return await self._deciding(said, decide)

    async def decide(self, actor: Actor, recommendation_id: int, body: Decide, event_id: UUID | None = None) -> Receipt:
        """Records a decision, and before it the policies that it is made under, where they are not on record yet."""
        stream = await self._stream_of_recommendation(recommendation_id)
        said = Said(actor, stream, RecommendationDecided, _members(body, recommendation_id), event_id, DERIVED)

        async def look() -> tuple[Case, InForce, Edited | None]:
            case, policies = await self._with_policies(stream, actor)
            # Only an edit is measured against what it edits.
            return case, policies, await self._edited(case) if body.outcome == "edit" else None

        def settle(seen: tuple[Case, InForce, Edited | None], new_id: UUID) -> list[NewEvent]:
            case, policies, edited = seen
            four_eyes, reasons = self.policies.four_eyes, self.policies.reasons
            event = decisions.decide(case, recommendation_id, body, edited, four_eyes, reasons)
            new = NewEvent(
                new_id, stream, event, actor, case.version, _answered(case), preconditions=policies.preconditions
            )
            return [*policies.adoptions, new]

        return await self.carry_out(said, look, settle)

    async def confirm(self, actor: Actor, decision_id: int, body: Confirm, event_id: UUID | None = None) -> Receipt:
        """Record a confirmation. The four-eyes policy in force decides who may confirm."""

        def settle(seen: tuple[Case, InForce], new_id: UUID) -> list[NewEvent]:
            case, policies = seen
            four_eyes = self.policies.four_eyes
            confirmed = decisions.confirm(case, decision_id, body, actor.id, actor.role, four_eyes)
            new = NewEvent(
                new_id, stream, confirmed, actor, case.version, _answered(case), preconditions=policies.preconditions
            )
            return [*policies.adoptions, new]

        stream, _ = await self.locate(decision_id, "recommendation.decided", "decision-unknown")
        members = {**body.model_dump(exclude_none=True), "decision_id": decision_id}
        derived = frozenset({"recommendation_id", "four_eyes_version"})
        said = Said(actor, stream, RecommendationConfirmed, members, event_id, derived)
        return await self.carry_out(said, lambda: self._with_policies(stream, actor), settle)

    async def communicate(
        self, actor: Actor, recommendation_id: int, body: Communicate, event_id: UUID | None = None
    ) -> Receipt:
        """Records what the client was told."""

        def decide(case: Case, new_id: UUID) -> list[NewEvent]:
            told = decisions.communicate(case, recommendation_id, body)
            return [NewEvent(new_id, stream, told, actor, case.version, _answered(case))]

        stream = await self._stream_of_recommendation(recommendation_id)
        said = Said(actor, stream, RecommendationCommunicated, _members(body, recommendation_id), event_id)
        return await self._deciding(said, decide)

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


def _members(body: Open | Decide | Communicate, recommendation_id: int) -> dict[str, Any]:
    return {**body.model_dump(exclude_none=True), "recommendation_id": recommendation_id}


def _answered(case: Case) -> UUID | None:
    return case.recommendation.event.id if case.recommendation else None
