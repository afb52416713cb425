"""What agents do, and what is done to them: requests, model calls, answers, the stop button."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

from ledger.domain import agent as agents
from ledger.domain import case as cases
from ledger.domain import request as requests
from ledger.domain.agent import RESERVED, Agent
from ledger.domain.case import Case
from ledger.domain.history import Past
from ledger.errors import LedgerError, NotFound
from ledger.service.command import CallEvents, Said
from ledger.service.execute import Core
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from schema.events import (
    AgentRegistered,
    AgentResumed,
    AgentSuspended,
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

AGENT_EXISTS = "SELECT agent_exists(%s)"

Ended = CallResult | CallFault


class Answering(Core):
    """Commands of agents and about agents."""

    async def request_portfolio(self, actor: Actor, event: PortfolioRequested, event_id: UUID | None = None) -> Receipt:
        """Opens a new request; its number is in the recorded stream's name."""
        new = NewEvent(event_id or uuid7(), cases.CATEGORY, event, actor, "no_stream")
        return (await self.writer.append([new]))[0]

    async def start_call(
        self,
        actor: Actor,
        request_id: int,
        call: CallStart,
        event_id: UUID | None = None,
        *,
        answer_schema: str | None = None,
    ) -> Receipt:
        """Records that a model is about to be called; registers the agent's answer schema where none is registered."""

        def decide(case: Case, agent: Agent, new_id: UUID) -> list[NewEvent]:
            requests.check_start(case, agent)
            first, version = _registration(actor, agent, answer_schema)
            new = NewEvent(
                new_id,
                said.stream,
                event,
                actor,
                case.version,
                _asked(case),
                preconditions=_precondition(actor, version),
            )
            return [*first, new]

        event = ModelCallStarted(**dict(call))
        said = Said.event(actor, cases.stream_of(request_id), event, event_id)
        return await self._answering(said, decide)

    async def end_call(self, actor: Actor, call_id: int, body: Ended, event_id: UUID | None = None) -> Receipt:
        """Records what came back of a call, or that nothing did. A suspended agent may still say so."""

        def decide(case: Case, _agent: Agent, new_id: UUID) -> list[NewEvent]:
            call = requests.check_end(case, call_id, actor.id)
            return [NewEvent(new_id, said.stream, event, actor, case.version, causation=call.event.id)]

        event = _end_event(body)
        stream, started = await self.locate(call_id, "model-call.started", "model-call-unknown")
        said = replace(Said.event(actor, stream, event, event_id), causation=started)
        return await self._answering(said, decide)

    async def answer_request(
        self,
        actor: Actor,
        request_id: int,
        event: RecommendationRecorded | RequestFailed,
        event_id: UUID | None = None,
        *,
        ended: tuple[int, Ended] | None = None,
    ) -> Receipt:
        """Records an answer, or that there will be none; with `ended`, how the agent's call of that id ended before it.

        All or nothing. Raises NotFound, Refused or InvalidEvent; a replay returns the original.
        """

        def decide(case: Case, agent: Agent, new_id: UUID) -> list[NewEvent]:
            new = NewEvent(new_id, said.stream, event, actor, preconditions=_precondition(actor, agent.version))
            before, case = _end(case, actor, said.stream, ended)
            if isinstance(event, RequestFailed):
                requests.check_failure(case, agent)
                led = before[0].id if before else _asked(case)
                return [*before, replace(new, expected=case.version, causation=led)]
            answer = requests.answer(case, agent, event, actor.id)
            call = None if event.model_call_id is None else case.calls[event.model_call_id].ended
            led = _asked(case) if call is None else call.id
            return [*before, replace(new, event=answer, expected=case.version, causation=led)]

        stream = cases.stream_of(request_id)
        said = Said.event(actor, stream, event, event_id, "supersedes")
        return await self._answering(said, decide)

    async def record_calls(self, groups: Sequence[CallEvents]) -> list[LedgerError | None]:
        """Records calls that are over, each alone: None where it is recorded, or why it is not.

        Those of one stream in the order given. Also of an agent that is suspended: what has happened is evidence.
        """
        results: dict[int, LedgerError | None] = {}

        async def record(stream: str) -> None:
            for number, group in enumerate(groups):
                if group.stream == stream:
                    try:
                        await self._record_call(group)
                        results[number] = None
                    except LedgerError as error:
                        results[number] = error

        await asyncio.gather(*(record(stream) for stream in dict.fromkeys(group.stream for group in groups)))
        return [results[number] for number in range(len(groups))]

    async def _record_call(self, group: CallEvents) -> None:
        def decide(case: Case, _agent: Agent, _new_id: UUID) -> list[NewEvent]:
            if group.stream.startswith(cases.CATEGORY):
                requests.check_known(case)
            return [group.started, group.ended]

        said = Said.event(group.started.actor, group.stream, group.ended.event, group.ended.id)
        await self._answering(said, decide)

    async def command_agent(
        self,
        actor: Actor,
        name: str,
        event: AgentRegistered | AgentSuspended | AgentResumed,
        event_id: UUID | None = None,
    ) -> Receipt:
        """Registers, suspends or resumes an agent. Raises NotFound `agent-unknown`, Refused or InvalidEvent."""

        def decide(agent: Agent, new_id: UUID) -> list[NewEvent]:
            match event:
                case AgentRegistered():
                    agents.check_register(event)
                case AgentSuspended():
                    agents.check_suspend(agent)
                case AgentResumed():
                    agents.check_resume(agent)
            return [NewEvent(new_id, stream, event, actor, agent.version)]

        async def look() -> Agent:
            [history] = await self.readers.streams(stream)
            return agents.fold(history)

        if name not in RESERVED and await self.readers.fetch_one(AGENT_EXISTS, [name]) != (True,):
            raise NotFound("agent-unknown", "there is no agent of this name: no token of this name has the role agent")
        stream = agents.stream_of(name)
        return await self.carry_out(Said.event(actor, stream, event, event_id), look, decide)

    async def is_suspended(self, name: str) -> bool:
        """Whether nothing is taken from this agent now."""
        [history] = await self.readers.streams(agents.stream_of(name))
        return agents.fold(history).suspended

    async def _answering(self, said: Said, decide: Callable[[Case, Agent, UUID], list[NewEvent]]) -> Receipt:
        async def look() -> tuple[Case, Agent]:
            case, agent = await self.readers.streams(said.stream, agents.stream_of(said.actor.id))
            return cases.fold(case), agents.fold(agent)

        return await self.carry_out(said, look, lambda seen, new_id: decide(*seen, new_id))


def _precondition(actor: Actor, version: int) -> dict[str, int]:
    """The agent's own stream has to be as it was looked at: the stop button."""
    return {agents.stream_of(actor.id): version}


def _registration(actor: Actor, agent: Agent, answer_schema: str | None) -> tuple[list[NewEvent], int]:
    """The registration that is needed first, if any, and the version of the agent's stream after it."""
    if answer_schema is None or agent.registered is not None:  # what an administrator registered stands
        return [], agent.version
    event = AgentRegistered(answer_schema=answer_schema)
    agents.check_register(event)
    return [NewEvent(uuid7(), agents.stream_of(actor.id), event, actor, agent.version)], agent.version + 1


def _end(case: Case, actor: Actor, stream: str, ended: tuple[int, Ended] | None) -> tuple[list[NewEvent], Case]:
    """The event that ends a call, and the state after it."""
    if ended is None:
        return [], case
    call_id, body = ended
    event = _end_event(body)
    call = requests.check_end(case, call_id, actor.id)
    new = NewEvent(uuid7(), stream, event, actor, case.version, causation=call.event.id)
    past = Past(0, new.id, stream, case.version + 1, event.type, "")
    calls = {**case.calls, call_id: replace(call, ended=past)}
    return [new], replace(case, calls=calls, version=past.version)


def _end_event(body: Ended) -> ModelCallCompleted | ModelCallFailed:
    """Return the event that records this end."""
    return ModelCallFailed(**dict(body)) if isinstance(body, CallFault) else ModelCallCompleted(**dict(body))


def _asked(case: Case) -> UUID | None:
    return case.asked.id if case.asked else None
