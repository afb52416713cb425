"""Commands about requests: request a recommendation, record model calls, answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from ledger.domain import agent as agents
from ledger.domain import claim, request, subject, subject_commands
from ledger.domain.agent import Agent
from ledger.domain.case import CATEGORY, Case, fold_case, stream_of
from ledger.domain.history import RecordedEvent
from ledger.errors import ClientErased, LedgerError
from ledger.service.claims import Claims
from ledger.service.clients import ClientCommands
from ledger.service.command import CallEvents, Command
from ledger.service.execute import Executor, encoded, unknown
from ledger.service.finished_calls import FinishedCalls
from ledger.service.policies import InForce, Policies
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
    RequestPortfolio,
)
from schema.signing_keys import ActSignature

CallEnd = CallResult | CallFault
# The largest number of a client: what can be encoded with it can be encoded with any.
MOST = 2**53 - 1


@dataclass(frozen=True)
class State:
    """The state that decides commands of agents. `holder`: the agent that has claimed the request, or None."""

    case: Case
    agent: Agent
    policies: InForce
    holder: str | None


@dataclass(frozen=True)
class RequestCommands:
    """Commands of advisors and agents about requests. `policies` are the policies under which this server records."""

    executor: Executor
    policies: Policies
    clients: ClientCommands
    claims: Claims

    async def request_recommendation(
        self, actor: Actor, body: RequestPortfolio, event_id: UUID | None = None
    ) -> Receipt:
        """Open a new request. The stream of the receipt has its number. May register the client first.

        Raises NotFound `client-unknown` if the client is not in the actor's scope.
        """
        try:
            return await self._request(actor, body, event_id)
        except ClientErased:  # another process erased the client: the identifier no longer has a number
            self.clients.forget()
        return await self._request(actor, body, event_id)

    async def _request(self, actor: Actor, body: RequestPortfolio, event_id: UUID | None) -> Receipt:
        number = await self.clients.number(body.client_id)
        if number is None:
            number = await self._first_request(actor, body, event_id)
        new = _opening(actor, body, event_id, number)
        return await self.executor.append_once(Command.of_event(actor, CATEGORY, new.event, event_id), new)

    async def _first_request(self, actor: Actor, body: RequestPortfolio, event_id: UUID | None) -> int | None:
        """Register the client, and return its number. Nothing is registered for a request that will be refused.

        A crash before the request is recorded leaves a client without requests. The next request finds it.
        """
        if event_id is not None and (earlier := await self.executor.find(event_id)) is not None:
            return earlier[1].data.get("client")  # a retry, or another command with its key: append() decides
        if actor.scope is not None and (
            actor.scope.listed is not None or self.clients.registration.when == "beforehand"
        ):
            raise unknown("client-unknown")  # as for a client that is registered and not in scope
        await encoded([_opening(actor, body, event_id, MOST)])
        return await self.clients.number_by_request(actor, body.client_id)

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

        def decide(state: State, new_id: UUID) -> list[NewEvent]:
            case, agent = state.case, state.agent
            request.check_start(case, agent)
            claim.check_free(case, state.holder, actor.id)
            first, agent = _registration(actor, agent, answer_schema)
            new = NewEvent(new_id, command.stream, event, actor, case.version, _request_event(case))
            return [*first, replace(new, preconditions=_not_suspended(actor, agent))]

        event = ModelCallStarted(**dict(call))
        command = Command.of_event(actor, stream_of(request_id), event, event_id)
        return await self._execute(command, decide)

    async def end_call(
        self,
        actor: Actor,
        call_id: int,
        end: CallEnd,
        event_id: UUID | None = None,
        signature: ActSignature | None = None,
    ) -> Receipt:
        """Record the result of a call, or its failure. A suspended agent may still end its calls."""

        def decide(state: State, new_id: UUID) -> list[NewEvent]:
            call = request.check_end(state.case, call_id, actor.id)
            self.policies.signed_acts.check(event.type, state.case.amount_usd, signature)
            new = NewEvent(new_id, command.stream, event, actor, state.case.version, causation=call.event.id)
            return state.policies.before(new)

        event = _end_event(end)
        stream, started = await self.executor.locate(call_id, "model-call.started", "model-call-unknown")
        command = replace(Command.of_event(actor, stream, event, event_id), causation=started, signature=signature)
        return await self._execute(command, decide)

    async def answer(
        self,
        actor: Actor,
        request_id: int,
        event: RecommendationRecorded | RequestFailed,
        event_id: UUID | None = None,
        *,
        ended: tuple[int, CallEnd] | None = None,
        signature: ActSignature | None = None,
    ) -> Receipt:
        """Record an answer, or that there will be none. With `ended`, first record the end of the agent's call of that
        id.

        Records all of it or nothing. Raises NotFound, Refused or InvalidEvent.
        """

        def decide(state: State, new_id: UUID) -> list[NewEvent]:
            case, agent = state.case, state.agent
            new = NewEvent(new_id, command.stream, event, actor, preconditions=_not_suspended(actor, agent))
            if ended is not None:
                self.policies.signed_acts.check(_end_event(ended[1]).type, case.amount_usd, None)
            before, case = _end(case, actor, command.stream, ended)
            if isinstance(event, RequestFailed):
                request.check_failure(case, agent)
                claim.check_held(case, state.holder, actor.id)
                cause = before[0].id if before else _request_event(case)
            else:
                new = replace(new, event=request.answer(case, agent, event, actor.id))
                claim.check_free(case, state.holder, actor.id)
                call = None if event.model_call_id is None else case.calls[event.model_call_id].ended
                cause = _request_event(case) if call is None else call.id
            self.policies.signed_acts.check(event.type, case.amount_usd, signature)
            return [*before, *state.policies.before(replace(new, expected=case.version, causation=cause))]

        command = Command.of_event(actor, stream_of(request_id), event, event_id, "supersedes")
        command = replace(command, signature=signature)
        return await self._execute(command, decide)

    async def record_calls(self, groups: Sequence[CallEvents]) -> list[LedgerError | None]:
        """Record calls that have ended, each on its own; return for each None, or the reason for which it is not
        recorded.

        Calls of one stream are recorded in the given order. Calls of a suspended agent are recorded too, because they
        are evidence. Calls of a closed case are refused.
        """
        return await FinishedCalls(self.executor).record(groups)

    async def _execute(self, command: Command, decide: Callable[[State, UUID], list[NewEvent]]) -> Receipt:
        async def look() -> State:
            name = command.actor.id
            names = command.stream, agents.stream_of(name), subject.stream_of(name)
            history, agent, own, adopted = await self.executor.readers.streams(
                *names, self.policies.signed_acts.policy.stream
            )
            case = fold_case(history)
            policies = self.policies.signed_acts_in_force(adopted, command.actor)
            return State(case, agents.fold(agent, own), policies, await self.claims.holder(command.actor, case))

        return await self.executor.execute(command, look, decide)


def _opening(actor: Actor, body: RequestPortfolio, event_id: UUID | None, client: int | None) -> NewEvent:
    """Return the event that opens a request for the client with this number. The members were validated as `body`."""
    event = PortfolioRequested.model_construct(**{**dict(body), "client": client})
    return NewEvent(event_id or uuid7(), CATEGORY, event, actor, "no_stream")


def _not_suspended(actor: Actor, agent: Agent) -> dict[str, int]:
    """Return the precondition that the agent's own streams are as they were read, so that a suspension in between is
    noticed."""
    return {agents.stream_of(actor.id): agent.version, subject.stream_of(actor.id): agent.subject_version}


def _registration(actor: Actor, agent: Agent, answer_schema: str | None) -> tuple[list[NewEvent], Agent]:
    """Return the events that an agent of the server needs on record before its first call, and the agent after them.

    The agent becomes a subject, and its answer schema is registered. A registration by an administrator stays.
    """
    first: list[NewEvent] = []
    if answer_schema is None:
        return first, agent
    if not agent.known:
        stream = subject.stream_of(actor.id)
        first += [NewEvent(uuid7(), stream, event, actor) for event in subject_commands.builtin()]
        agent = replace(agent, known=True, subject_version=agent.subject_version + len(first))
    if agent.registered is None:
        event = AgentRegistered(answer_schema=answer_schema)
        agents.check_register(event)
        first.append(NewEvent(uuid7(), agents.stream_of(actor.id), event, actor, agent.version))
        agent = replace(agent, version=agent.version + 1)
    return first, agent


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
