"""Commands about recommendations: open, decide, confirm, communicate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger.domain import agent as agents
from ledger.domain import decisions
from ledger.domain.case import Case, Recommendation, fold_case
from ledger.domain.decisions import Confirmer, Edited
from ledger.service.command import Command
from ledger.service.execute import Executor
from ledger.service.policies import InForce, Policies
from ledger.store import events as store
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
from schema.signing_keys import ActSignature

# The members of a decision and of a confirmation that the ledger adds.
DECISION_DERIVED = frozenset(
    {
        "reason_group",
        "reason_codes_version",
        "needs_second",
        "second_rules",
        "four_eyes_version",
        "confirm_within_hours",
    }
)
CONFIRMATION_DERIVED = frozenset({"recommendation_id", "four_eyes_version"})
# The refusal for a missing item and for one outside the actor's scope.
RECOMMENDATION_UNKNOWN = "recommendation-unknown"
DECISION_UNKNOWN = "decision-unknown"
AGE = (
    "SELECT extract(epoch FROM clock_timestamp() - CASE WHEN isfinite(recorded_at) THEN recorded_at END)::float8"
    " FROM events WHERE position = %s"
)


@dataclass(frozen=True)
class DecisionCommands:
    """Commands of people about recommendations.

    `policies` are the policies under which this server records decisions.
    """

    executor: Executor
    policies: Policies

    async def open(self, actor: Actor, recommendation_id: int, body: Open, event_id: UUID | None = None) -> Receipt:
        """Record that a person has opened this content."""

        def decide(case: Case, new_id: UUID) -> list[NewEvent]:
            event = decisions.open_(case, recommendation_id, body)
            return [NewEvent(new_id, stream, event, actor, case.version, _answer_event(case))]

        stream = await self._stream_of(recommendation_id)
        members = _members(body, recommendation_id)
        command = Command(actor, stream, RecommendationOpened, members, event_id, unknown=RECOMMENDATION_UNKNOWN)
        return await self._execute(command, decide)

    async def decide(
        self,
        actor: Actor,
        recommendation_id: int,
        body: Decide,
        event_id: UUID | None = None,
        signature: ActSignature | None = None,
    ) -> Receipt:
        """Record a decision. First record those of its policies that are not on record yet."""

        async def look() -> tuple[Case, InForce, Edited | None]:
            case, policies = await self._with_policies(stream, actor)
            # Only an edit is compared with the content that it replaces.
            return case, policies, await self._edited(case) if body.outcome == "edit" else None

        def decide(state: tuple[Case, InForce, Edited | None], new_id: UUID) -> list[NewEvent]:
            case, policies, edited = state
            four_eyes, reasons = self.policies.four_eyes, self.policies.reasons
            event = decisions.decide(case, recommendation_id, body, edited, four_eyes, reasons)
            self.policies.signed_acts.check(event.type, case.amount_usd, signature)
            return policies.before(NewEvent(new_id, stream, event, actor, case.version, _answer_event(case)))

        stream = await self._stream_of(recommendation_id)
        members = _members(body, recommendation_id)
        command = Command(
            actor,
            stream,
            RecommendationDecided,
            members,
            event_id,
            DECISION_DERIVED,
            signature=signature,
            unknown=RECOMMENDATION_UNKNOWN,
        )
        return await self.executor.execute(command, look, decide)

    async def confirm(
        self,
        actor: Actor,
        decision_id: int,
        body: Confirm,
        event_id: UUID | None = None,
        signature: ActSignature | None = None,
    ) -> Receipt:
        """Record a confirmation. The four-eyes policy in force decides who may confirm."""

        async def look() -> tuple[Case, InForce, float]:
            case, policies = await self._with_policies(stream, actor)
            return case, policies, await age_of(self.executor, decision_id)

        def decide(state: tuple[Case, InForce, float], new_id: UUID) -> list[NewEvent]:
            case, policies, age_s = state
            by = Confirmer(actor.id, actor.role)
            event = decisions.confirm(case, decision_id, body, by, self.policies.four_eyes, age_s)
            self.policies.signed_acts.check(event.type, case.amount_usd, signature)
            return policies.before(NewEvent(new_id, stream, event, actor, case.version, _answer_event(case)))

        stream, _ = await self.executor.locate(decision_id, "recommendation.decided", DECISION_UNKNOWN)
        members = {**body.model_dump(exclude_none=True), "decision_id": decision_id}
        command = Command(
            actor,
            stream,
            RecommendationConfirmed,
            members,
            event_id,
            CONFIRMATION_DERIVED,
            signature=signature,
            unknown=DECISION_UNKNOWN,
        )
        return await self.executor.execute(command, look, decide)

    async def communicate(
        self,
        actor: Actor,
        recommendation_id: int,
        body: Communicate,
        event_id: UUID | None = None,
        signature: ActSignature | None = None,
    ) -> Receipt:
        """Record that the client was told."""

        async def look() -> tuple[Case, InForce]:
            history, adopted = await self.executor.readers.streams(stream, self.policies.signed_acts.policy.stream)
            return fold_case(history), self.policies.signed_acts_in_force(adopted, actor)

        def decide(state: tuple[Case, InForce], new_id: UUID) -> list[NewEvent]:
            case, policies = state
            event = decisions.communicate(case, recommendation_id, body)
            self.policies.signed_acts.check(event.type, case.amount_usd, signature)
            return policies.before(NewEvent(new_id, stream, event, actor, case.version, _answer_event(case)))

        stream = await self._stream_of(recommendation_id)
        members = _members(body, recommendation_id)
        command = Command(
            actor,
            stream,
            RecommendationCommunicated,
            members,
            event_id,
            signature=signature,
            unknown=RECOMMENDATION_UNKNOWN,
        )
        return await self.executor.execute(command, look, decide)

    async def record_replay(self, actor: Actor, stream: str, event: RecommendationReplayed) -> Receipt:
        """Record that a recommendation was replayed."""
        return (await self.executor.writer.append([NewEvent(uuid7(), stream, event, actor, "stream_exists")]))[0]

    async def recommendation_after(self, receipt: Receipt) -> Recommendation:
        """Return the recommendation as it was right after the command with this receipt.

        Reads the stream again: a repeated command gets its first answer, also when the state has moved on since.
        """
        [history] = await self.executor.readers.streams(receipt.stream)
        recommendation = fold_case(history[: receipt.version]).recommendation
        assert recommendation is not None, "each of these commands is about a recommendation"
        return recommendation

    async def _execute(self, command: Command, decide: Callable[[Case, UUID], list[NewEvent]]) -> Receipt:
        async def look() -> Case:
            [history] = await self.executor.readers.streams(command.stream)
            return fold_case(history)

        return await self.executor.execute(command, look, decide)

    async def _with_policies(self, stream: str, actor: Actor) -> tuple[Case, InForce]:
        names = (policy.stream for policy in self.policies.all)
        history, *adopted = await self.executor.readers.streams(stream, *names)
        return fold_case(history), self.policies.in_force(adopted, actor)

    async def _edited(self, case: Case) -> Edited | None:
        current = case.recommendation
        if current is None:
            return None
        [history] = await self.executor.readers.streams(agents.stream_of(current.event.by))
        sealed = await self.executor.readers.run(lambda conn: store.sealed(conn, current.id))
        return Edited(sealed.get("recommendation"), agents.fold(history).answer_schema)

    async def _stream_of(self, recommendation_id: int) -> str:
        stream, _ = await self.executor.locate(recommendation_id, "recommendation.recorded", RECOMMENDATION_UNKNOWN)
        return stream


async def age_of(executor: Executor, position: int) -> float:
    """Return the age of an event in seconds, by the database's clock. Raises Unavailable."""
    row = await executor.readers.fetch_one(AGE, [position])
    return 0.0 if row is None or row[0] is None else float(row[0])


def _members(body: Open | Decide | Communicate, recommendation_id: int) -> dict[str, Any]:
    return {**body.model_dump(exclude_none=True), "recommendation_id": recommendation_id}


def _answer_event(case: Case) -> UUID | None:
    return case.recommendation.event.id if case.recommendation else None
