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

from api.agents.protocol import (
    OUTAGES,
    Agent,
    AgentAnswer,
    AgentRefused,
    AgentRequest,
    AgentUnavailable,
    prepared_call,
)
from schema.events import CallFault, CallResult, CallStart, RecommendationRecorded, RequestFailed

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
    ended: CallResult | CallFault | None = None
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

    async def prepare(self, request: AgentRequest) -> CallStart | Outcome:
        """Return the model call that the agent is going to make, or why it makes none."""
        found = await self._guarded(lambda: prepared_call(self._agent, request))
        return found if not isinstance(found, Failure) else found.outcome(None, 0)

    async def answer(self, request: AgentRequest, call: CallStart, call_id: int) -> Outcome:
        """What came of the call that is on record as `call_id`."""
        began = monotonic()
        found = await self._guarded(lambda: self._answered(request, call, call_id))
        latency_ms = round((monotonic() - began) * 1000)
        if isinstance(found, Failure):
            return found.outcome(call_id, latency_ms)
        recommendation, result = found
        return Outcome(recommendation, call_id, result.model_copy(update={"latency_ms": latency_ms}))

    def _answered(
        self, request: AgentRequest, call: CallStart, call_id: int
    ) -> tuple[RecommendationRecorded, CallResult]:
        answer = self._agent.answer(request, call)
        return _recommendation(answer, call_id), answer.completed

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
        ended = CallFault(error_type=self.reason, latency_ms=latency_ms, detail=self.detail[:20_000])
        failed = RequestFailed(reason=self.reason, detail=self.detail[:20_000])
        return Outcome(failed, call_id, None if call_id is None else ended, self.final, self.retry_after_s)


def _recommendation(answer: AgentAnswer, call_id: int) -> RecommendationRecorded:
    return RecommendationRecorded(
        recommendation=answer.recommendation,
        model_name=answer.model_name,
        model_version=answer.model_version,
        parameters=answer.parameters,
        prompt=answer.prompt,
        model_call_id=call_id,
    )


class Caught(AbstractContextManager["Caught"]):
    """Ends any exception of foreign code, an agent's, and keeps the name of its class; its message may be personal."""

    kind = ""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        self.kind = kind.__name__ if kind else ""
        return kind is not None and issubclass(kind, Exception)
