"""Commands about requests: request a recommendation, record model calls, answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from ledger.domain import agent as agents
from ledger.domain import request
from ledger.domain.agent import Agent
from ledger.domain.case import CATEGORY, Case, fold_case, stream_of
from ledger.domain.history import RecordedEvent
from ledger.errors import LedgerError
from ledger.service.command import CallEvents, Command
from ledger.service.execute import Executor
from ledger.service.finished_calls import FinishedCalls
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from schema.events import (
    AgentRegistered,
    CallFault,
    CallResult,
    CallStart,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    PortfolioRequested,
    RecommendationRecorded,
    RequestFailed,
)

CallEnd = CallResult | CallFault


@dataclass(frozen=True)
class RequestCommands:
    """Commands of advisors and agents about requests."""

    executor: Executor

    async def request_recommendation(
        self, actor: Actor, event: PortfolioRequested, event_id: UUID | None = None
    ) -> Receipt:
        """Open a new request. The stream of the receipt has its number."""
        new = NewEvent(event_id or uuid7(), CATEGORY, event, actor, "no_stream")
        return (await self.executor.writer.append([new]))[0]

    async def start_call(
        self,
        actor: Actor,
        request_id: int,
        call: CallStart,
        event_id: UUID | None = None,
        *,
        answer_schema: str | None = None,
    ) -> Receipt:
        """Record that a model is about to be called. Registers `answer_schema` if the agent has no schema yet."""

        def decide(case: Case, agent: Agent, new_id: UUID) -> list[NewEvent]:
            request.check_start(case, agent)
            first, version = _registration(actor, agent, answer_schema)
            new = NewEvent(new_id, command.stream, event, actor, case.version, _request_event(case))
            return [*first, replace(new, preconditions=_not_suspended(actor, version))]

        event = ModelCallStarted(**dict(call))
        command = Command.of_event(actor, stream_of(request_id), event, event_id)
        return await self._execute(command, decide)

    async def end_call(self, actor: Actor, call_id: int, end: CallEnd, event_id: UUID | None = None) -> Receipt:
        """Record the result of a call, or its fault. A suspended agent may still end its calls."""

        def decide(case: Case, _agent: Agent, new_id: UUID) -> list[NewEvent]:
            call = request.check_end(case, call_id, actor.id)
            return [NewEvent(new_id, command.stream, event, actor, case.version, causation=call.event.id)]

        event = _end_event(end)
        stream, started = await self.executor.locate(call_id, "model-call.started", "model-call-unknown")
        command = replace(Command.of_event(actor, stream, event, event_id), causation=started)
        return await self._execute(command, decide)

    async def answer(
        self,
        actor: Actor,
        request_id: int,
        event: RecommendationRecorded | RequestFailed,
        event_id: UUID | None = None,
        *,
        ended: tuple[int, CallEnd] | None = None,
    ) -> Receipt:
        """Record an answer, or that there will be none; with `ended`, first the end of the agent's call of that id.

        Records all of it or nothing. Raises NotFound, Refused or InvalidEvent.
        """

        def decide(case: Case, agent: Agent, new_id: UUID) -> list[NewEvent]:
            new = NewEvent(new_id, command.stream, event, actor, preconditions=_not_suspended(actor, agent.version))
            before, case = _end(case, actor, command.stream, ended)
            if isinstance(event, RequestFailed):
                request.check_failure(case, agent)
                cause = before[0].id if before else _request_event(case)
                return [*before, replace(new, expected=case.version, causation=cause)]
            recorded = request.answer(case, agent, event, actor.id)
            call = None if event.model_call_id is None else case.calls[event.model_call_id].ended
            cause = _request_event(case) if call is None else call.id
            return [*before, replace(new, event=recorded, expected=case.version, causation=cause)]

        command = Command.of_event(actor, stream_of(request_id), event, event_id, "supersedes")
        return await self._execute(command, decide)

    async def record_calls(self, groups: Sequence[CallEvents]) -> list[LedgerError | None]:
        """Record calls that are over, each on its own; return for each None, or why it is not recorded.

        Calls of one stream are recorded in the order given. Calls of a suspended agent are recorded as well: they are
        evidence of what happened.
        """
        return await FinishedCalls(self.executor).record(groups)

    async def _execute(self, command: Command, decide: Callable[[Case, Agent, UUID], list[NewEvent]]) -> Receipt:
        async def look() -> tuple[Case, Agent]:
            streams = command.stream, agents.stream_of(command.actor.id)
            case, agent = await self.executor.readers.streams(*streams)
            return fold_case(case), agents.fold(agent)

        return await self.executor.execute(command, look, lambda state, new_id: decide(*state, new_id))


def _not_suspended(actor: Actor, version: int) -> dict[str, int]:
    """The precondition that the agent's own stream is as it was read, so that a suspension in between is seen."""
    return {agents.stream_of(actor.id): version}


def _registration(actor: Actor, agent: Agent, answer_schema: str | None) -> tuple[list[NewEvent], int]:
    """Return the registration to record first, if any, and the version of the agent's stream after it."""
    if answer_schema is None or agent.registered is not None:  # an administrator's registration stays
        return [], agent.version
    event = AgentRegistered(answer_schema=answer_schema)
    agents.check_register(event)
    return [NewEvent(uuid7(), agents.stream_of(actor.id), event, actor, agent.version)], agent.version + 1


def _end(case: Case, actor: Actor, stream: str, ended: tuple[int, CallEnd] | None) -> tuple[list[NewEvent], Case]:
    """Return the event that ends a call, if one is to end, and the state after it."""
    if ended is None:
        return [], case
    call_id, end = ended
    call = request.check_end(case, call_id, actor.id)
    new = NewEvent(uuid7(), stream, _end_event(end), actor, case.version, causation=call.event.id)
    event = RecordedEvent(0, new.id, stream, case.version + 1, new.event.type, "")
    calls = {**case.calls, call_id: replace(call, ended=event)}
    return [new], replace(case, calls=calls, version=event.version)


def _end_event(end: CallEnd) -> ModelCallCompleted | ModelCallFailed:
    return ModelCallFailed(**dict(end)) if isinstance(end, CallFault) else ModelCallCompleted(**dict(end))


def _request_event(case: Case) -> UUID | None:
    return case.request.id if case.request else None
