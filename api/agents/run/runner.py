"""Asking an agent: in a thread, for so long and no longer, and whatever it does becomes an outcome to record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import TypeVar

from api.agents.protocol import OUTAGES, Agent, AgentAnswer, AgentRefused, AgentRequest, AgentUnavailable, ModelCall
from schema.events import (
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    RecommendationRecorded,
    RequestFailed,
    Shown,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

# So many agents are asked at a time. There are more threads, as one that hangs keeps its own.
AT_A_TIME = 8
THREADS = 64


@dataclass(frozen=True)
class Outcome:
    """What is to be recorded: the end of the call, where there was one, and the answer or failure after it.

    `final`: asking again would not change it. `retry_after_s`: asking sooner would not.
    """

    event: RecommendationRecorded | RequestFailed
    call_id: int | None = None
    ended: ModelCallCompleted | ModelCallFailed | None = None
    final: bool = True
    retry_after_s: float | None = None

    @property
    def outage(self) -> bool:
        """Whether it says nothing of the request: the model is away."""
        return isinstance(self.event, RequestFailed) and self.event.reason in OUTAGES


class Asking:
    """Asks one agent. close() does not wait for threads that hang."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        # Not asyncio's own threads: agents may keep theirs busy for minutes.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="agent")
        self._turn = asyncio.Semaphore(AT_A_TIME)

    def close(self) -> None:
        """No more questions."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def prepare(self, request: AgentRequest) -> tuple[ModelCall, ModelCallStarted] | Outcome:
        """What the agent is going to ask a model, and the event that says so; or why there is nothing to ask."""
        found = await self._guarded(lambda: _prepared(self._agent, request))
        return found if not isinstance(found, Failure) else found.outcome(None, 0)

    async def answer(self, request: AgentRequest, call: ModelCall, call_id: int) -> Outcome:
        """What came of the call that is on record as `call_id`."""
        began = monotonic()
        found = await self._guarded(lambda: _recorded(self._agent.answer(request, call), call_id))
        latency_ms = round((monotonic() - began) * 1000)
        if isinstance(found, Failure):
            return found.outcome(call_id, latency_ms)
        recommendation, completed = found
        return Outcome(recommendation, call_id, completed.model_copy(update={"latency_ms": latency_ms}))

    async def _guarded(self, ask: Callable[[], T]) -> T | Failure:
        def work() -> T | Failure:
            with Caught() as caught:
                try:
                    return ask()
                except AgentRefused as refusal:
                    return Failure(refusal.reason, str(refusal), final=True)
                except AgentUnavailable as trouble:
                    return Failure(trouble.reason, str(trouble), retry_after_s=trouble.retry_after_s)
            return Failure("agent-fault", caught.kind)

        async with self._turn:
            running = asyncio.get_running_loop().run_in_executor(self._threads, work)
            try:
                found = await asyncio.wait_for(running, self._agent.timeout_s)
            except TimeoutError:
                found = Failure("agent-timeout", f"no answer within {self._agent.timeout_s:g} s")
        if isinstance(found, Failure) and not found.final:
            log.warning("agent %s: %s", self._agent.name, found.reason)
        return found


@dataclass(frozen=True)
class Failure:
    """Why an agent gave nothing: `reason` in clear, `detail` sealed."""

    reason: str
    detail: str
    final: bool = False
    retry_after_s: float | None = None

    def outcome(self, call_id: int | None, latency_ms: int) -> Outcome:
        """What is recorded of it, should it stay so."""
        ended = ModelCallFailed(error_type=self.reason, latency_ms=latency_ms, detail=self.detail[:20_000])
        failed = RequestFailed(reason=self.reason, detail=self.detail[:20_000])
        return Outcome(failed, call_id, None if call_id is None else ended, self.final, self.retry_after_s)


def _prepared(agent: Agent, request: AgentRequest) -> tuple[ModelCall, ModelCallStarted]:
    call = agent.prepare(request)
    return call, _started(agent, request, call)


def _started(agent: Agent, request: AgentRequest, call: ModelCall) -> ModelCallStarted:
    return ModelCallStarted(
        operation_name=call.operation_name,
        provider_name=call.provider_name,
        request_model=call.request_model,
        request_parameters=dict(call.request_parameters),
        agent_version=agent.version,
        prompt_name=call.prompt_name,
        prompt_version=call.prompt_version,
        prompt_sha256=call.prompt_sha256,
        tool_definitions_sha256=call.tool_definitions_sha256,
        shown=[*shown(request), *call.shown],
        as_of=request.as_of,
        system_instructions=call.system_instructions,
        input_messages=call.input_messages,
    )


def shown(request: AgentRequest) -> list[Shown]:
    """Everything of the ledger that the agent was given."""
    found = [Shown(kind="request", id=str(request.request_id))]
    for earlier in request.earlier:
        found.append(Shown(kind="recommendation", id=str(earlier.id)))
        if earlier.decision_id is not None:
            found.append(Shown(kind="decision", id=str(earlier.decision_id)))
    return found


def _recorded(answer: AgentAnswer, call_id: int) -> tuple[RecommendationRecorded, ModelCallCompleted]:
    recommendation = RecommendationRecorded(
        recommendation=answer.recommendation,
        model_name=answer.model_name,
        model_version=answer.model_version,
        parameters=answer.parameters,
        prompt=answer.prompt,
        model_call_id=call_id,
    )
    finish_reasons = answer.response_finish_reasons
    completed = ModelCallCompleted(
        response_id=answer.response_id,
        response_model=answer.response_model,
        response_finish_reasons=None if finish_reasons is None else list(finish_reasons),
        usage_input_tokens=answer.usage_input_tokens,
        usage_output_tokens=answer.usage_output_tokens,
        output_messages=answer.recommendation if answer.output_messages is None else answer.output_messages,
    )
    return recommendation, completed


class Caught(AbstractContextManager["Caught"]):
    """Ends any exception of foreign code, an agent's, and keeps the name of its class; its message may be personal."""

    kind = ""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        self.kind = kind.__name__ if kind else ""
        return kind is not None and issubclass(kind, Exception)
