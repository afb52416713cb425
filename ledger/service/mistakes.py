"""Commands that withdraw a request or a decision, revoke a decision, or let one expire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from pydantic import BaseModel

from ledger.domain import mistakes
from ledger.domain.case import Case, fold_case, stream_of
from ledger.errors import NotFound
from ledger.service.command import Command
from ledger.service.decisions import DECISION_UNKNOWN, age_of
from ledger.service.execute import Executor
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from schema.events import (
    DecisionRevoked,
    DecisionWithdrawn,
    RequestWithdrawn,
    RevokeDecision,
    WithdrawDecision,
    WithdrawRequest,
)

REQUEST_UNKNOWN = "request-unknown"
# The members that the ledger adds to events about a decision.
DERIVED = frozenset({"recommendation_id"})


@dataclass(frozen=True)
class MistakeCommands:
    """Commands of people who withdraw or revoke something, and the expiry of decisions."""

    executor: Executor

    async def withdraw_request(
        self, actor: Actor, request_id: int, body: WithdrawRequest, event_id: UUID | None = None
    ) -> Receipt:
        """Record that a request is withdrawn. The request that replaces it must be open, and in the actor's scope."""

        async def look() -> tuple[Case, Case | None]:
            [history] = await self.executor.readers.streams(stream)
            return fold_case(history), await self._replacement(actor, body.replaced_by)

        def decide(state: tuple[Case, Case | None], new_id: UUID) -> list[NewEvent]:
            case, replacement = state
            event = mistakes.withdraw_request(case, body, replacement)
            cause = None if case.request is None else case.request.id
            # Two requests that replace each other at the same moment: the second one is refused.
            limits = {} if replacement is None else {stream_of(body.replaced_by or 0): replacement.version}
            return [NewEvent(new_id, stream, event, actor, case.version, cause, preconditions=limits)]

        stream = stream_of(request_id)
        members = body.model_dump(exclude_none=True)
        command = Command(actor, stream, RequestWithdrawn, members, event_id, unknown=REQUEST_UNKNOWN)
        return await self.executor.execute(command, look, decide)

    async def withdraw_decision(
        self, actor: Actor, decision_id: int, body: WithdrawDecision, event_id: UUID | None = None
    ) -> Receipt:
        """Record that the actor withdraws a decision of theirs that waits."""

        def judge(case: Case) -> DecisionWithdrawn:
            return mistakes.withdraw_decision(case, decision_id, body, actor.id)

        return await self._on_decision(actor, decision_id, DecisionWithdrawn, body, judge, event_id)

    async def revoke(
        self, actor: Actor, decision_id: int, body: RevokeDecision, event_id: UUID | None = None
    ) -> Receipt:
        """Record that a decision is no longer in force."""

        def judge(case: Case) -> DecisionRevoked:
            return mistakes.revoke(case, decision_id, body)

        return await self._on_decision(actor, decision_id, DecisionRevoked, body, judge, event_id)

    async def expire(self, actor: Actor, decision_id: int) -> Receipt | None:
        """Record that a decision has expired; return None if it has not, because it was confirmed in between, for
        example.

        The database's clock says how old the decision is. Of two processes that expire it at once, one records it.
        """
        stream, decided = await self.executor.locate(decision_id, "recommendation.decided", DECISION_UNKNOWN)

        async def look() -> tuple[Case, float]:
            [history] = await self.executor.readers.streams(stream)
            return fold_case(history), await age_of(self.executor, decision_id)

        def decide(state: tuple[Case, float]) -> list[NewEvent]:
            case, age_s = state
            event = mistakes.expire(case, decision_id, age_s)
            return [] if event is None else [NewEvent(uuid7(), stream, event, actor, case.version, decided)]

        receipts = await self.executor.execute_all(actor, look, decide)
        return receipts[-1] if receipts else None

    async def _on_decision(
        self,
        actor: Actor,
        decision_id: int,
        kind: type[DecisionWithdrawn | DecisionRevoked],
        body: BaseModel,
        judge: Callable[[Case], DecisionWithdrawn | DecisionRevoked],
        event_id: UUID | None,
    ) -> Receipt:
        stream, decided = await self.executor.locate(decision_id, "recommendation.decided", DECISION_UNKNOWN)

        async def look() -> Case:
            [history] = await self.executor.readers.streams(stream)
            return fold_case(history)

        def decide(case: Case, new_id: UUID) -> list[NewEvent]:
            return [NewEvent(new_id, stream, judge(case), actor, case.version, decided)]

        members = {**body.model_dump(exclude_none=True), "decision_id": decision_id}
        command = Command(actor, stream, kind, members, event_id, DERIVED, unknown=DECISION_UNKNOWN)
        return await self.executor.execute(command, look, decide)

    async def _replacement(self, actor: Actor, request_id: int | None) -> Case | None:
        """Return the case of a request that the actor may see, or None."""
        if request_id is None:
            return None
        stream = stream_of(request_id)
        try:
            await self.executor.limits(actor, Command(actor, stream, RequestWithdrawn, {}, unknown=REQUEST_UNKNOWN))
        except NotFound:
            return None
        [history] = await self.executor.readers.streams(stream)
        return fold_case(history)
