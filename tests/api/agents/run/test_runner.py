"""Where an agent's calls run: in the event loop while they are short and deterministic, in threads otherwise."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal

import pytest

from api.agents.protocol import AgentAnswer, AgentRequest
from api.agents.run.runner import MAX_CONCURRENT, SHORT_S, AgentRunner, AttemptResult
from schema.events import CallStart, RequestFailed

REQUEST = AgentRequest(1, "balanced", Decimal(1))


class Timed:
    """An agent whose calls take as long on the test's clock as the test says. It notes where each call runs."""

    name = "timed"
    version = "1"
    answer_schema = "any/v1"
    timeout_s = 60.0

    def __init__(self, *, deterministic: bool) -> None:
        self.deterministic = deterministic
        self.now_s = 0.0
        self.takes_s = 0.0
        self.in_loop: list[bool] = []

    def prepare(self, request: AgentRequest) -> CallStart:  # noqa: ARG002 - the protocol's
        """Let the time of one call pass."""
        self.in_loop.append(threading.current_thread() is threading.main_thread())
        self.now_s += self.takes_s
        return CallStart(provider_name="p", request_model="m")

    def answer(self, request: AgentRequest, call: CallStart) -> AgentAnswer:  # noqa: ARG002 - the protocol's
        """Let the time of one call pass."""
        self.prepare(request)
        return AgentAnswer({}, "m", "1", {})


def where(agent: Timed, times_s: list[float]) -> list[bool]:
    """Make calls that take these times. Return for each whether it ran in the event loop."""

    async def run() -> None:
        runner = AgentRunner(agent, clock=lambda: agent.now_s)
        for takes_s in times_s:
            agent.takes_s = takes_s
            assert isinstance(await runner.prepare(REQUEST), CallStart)

    asyncio.run(run())
    return agent.in_loop


def test_a_deterministic_agent_keeps_the_loop_only_while_its_calls_are_short() -> None:
    """The first call has a thread; so has the one after a long call."""
    times_s = [0, 0, 2 * SHORT_S, 0, 0]
    assert where(Timed(deterministic=True), times_s) == [False, True, True, False, True]


@pytest.mark.parametrize("takes_s", [0.0, SHORT_S])
def test_other_agents_always_have_a_thread(takes_s: float) -> None:
    """An agent that asks a remote model never holds up the event loop, however fast it answered before."""
    assert where(Timed(deterministic=False), [takes_s] * 5) == [False] * 5


def test_the_first_answer_has_a_thread_however_short_the_preparation() -> None:
    """The steps are judged apart: to prepare a call says nothing about the time that the call takes."""
    agent = Timed(deterministic=True)
    where(agent, [0, 0])

    async def answer() -> None:
        runner = AgentRunner(agent, clock=lambda: agent.now_s)
        for _ in range(2):
            await runner.prepare(REQUEST)
        await runner.answer(REQUEST, CallStart(provider_name="p", request_model="m"), 1)

    asyncio.run(answer())
    assert agent.in_loop == [False, True, False, True, False]


def test_the_wait_for_a_turn_is_no_time_of_the_call() -> None:
    """Of many first calls at once only some have threads, and short calls stay short however many wait for them."""
    agent = Timed(deterministic=True)
    agent.takes_s = SHORT_S / 10

    async def prepare_many() -> None:
        runner = AgentRunner(agent, clock=lambda: agent.now_s)
        await asyncio.gather(*(runner.prepare(REQUEST) for _ in range(100)))
        await runner.prepare(REQUEST)

    asyncio.run(prepare_many())
    assert agent.in_loop.count(False) <= MAX_CONCURRENT
    assert agent.in_loop[-1]


@pytest.mark.parametrize("ends", [SystemExit, asyncio.CancelledError])
def test_an_agent_that_ends_its_program_is_a_fault_also_in_the_event_loop(ends: type[BaseException]) -> None:
    """Neither the server nor the task of the request ends with it, whether the call has a thread or not."""
    agent = Timed(deterministic=True)

    def leave(request: AgentRequest) -> CallStart:
        Timed.prepare(agent, request)
        raise ends

    agent.prepare = leave  # type: ignore[method-assign]

    async def prepare_twice() -> list[object]:
        runner = AgentRunner(agent, clock=lambda: agent.now_s)
        return [await runner.prepare(REQUEST) for _ in range(2)]

    fault = AttemptResult(RequestFailed(reason="agent-fault", detail=ends.__name__), final=False)
    assert asyncio.run(prepare_twice()) == [fault, fault]
    assert agent.in_loop == [False, True]
