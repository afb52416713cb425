"""Run an agent in a thread, with a time limit, and turn its answer or failure into a result that can be recorded."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Literal, TypeVar

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
Step = Literal["prepare", "answer"]

MAX_CONCURRENT = 8
# More threads than concurrent calls, because a call that hangs keeps its thread.
THREADS = 64
# A call that took less than this runs without a thread: a change of threads costs more than a short wait of the
# others.
SHORT_S = 0.005
MAX_DETAIL_CHARS = 20_000


@dataclass(frozen=True)
class AttemptResult:
    """The events to record after one attempt: the end of a started model call, and the answer or the failure.

    `final` is False if a retry may succeed, at the earliest after `retry_after_s`.
    """

    event: RecommendationRecorded | RequestFailed
    call_id: int | None = None
    ended: CallResult | CallFault | None = None
    final: bool = True
    retry_after_s: float | None = None

    @property
    def is_outage(self) -> bool:
        """Return True if the model is unavailable, which says nothing about the request."""
        return isinstance(self.event, RequestFailed) and self.event.reason in OUTAGES


@dataclass(frozen=True)
class AgentFailure:
    """An agent's failure: `reason` is a code that is recorded in clear, `detail` is sealed."""

    reason: str
    detail: str
    final: bool = False
    retry_after_s: float | None = None

    def result(self, call_id: int | None, latency_ms: int) -> AttemptResult:
        """Return the events that record this failure."""
        detail = self.detail[:MAX_DETAIL_CHARS]
        ended = None if call_id is None else CallFault(error_type=self.reason, latency_ms=latency_ms, detail=detail)
        failed = RequestFailed(reason=self.reason, detail=detail)
        return AttemptResult(failed, call_id, ended, self.final, self.retry_after_s)


class AgentRunner:
    """Run one agent, at most MAX_CONCURRENT calls at a time."""

    def __init__(self, agent: Agent, *, clock: Callable[[], float] = monotonic) -> None:
        self._agent = agent
        self._clock = clock
        # Each thread holds it until the thread ends, even after its call timed out.
        self._free = asyncio.Semaphore(THREADS)
        self._turn = asyncio.Semaphore(MAX_CONCURRENT)
        # The duration of the last call of each step.
        self._took_s: dict[Step, float] = {}

    async def prepare(self, request: AgentRequest) -> CallStart | AttemptResult:
        """Return the model call that the agent is going to make, or the reason for which it makes none."""
        call = await self._run("prepare", lambda: prepared_call(self._agent, request))
        return call.result(None, 0) if isinstance(call, AgentFailure) else call

    async def answer(self, request: AgentRequest, call: CallStart, call_id: int) -> AttemptResult:
        """Make the model call that is recorded as `call_id`."""
        began = self._clock()
        answer = await self._run("answer", lambda: self._answer(request, call, call_id))
        latency_ms = round((self._clock() - began) * 1000)
        if isinstance(answer, AgentFailure):
            return answer.result(call_id, latency_ms)
        recommendation, result = answer
        return AttemptResult(recommendation, call_id, result.model_copy(update={"latency_ms": latency_ms}))

    def _answer(
        self, request: AgentRequest, call: CallStart, call_id: int
    ) -> tuple[RecommendationRecorded, CallResult]:
        answer = self._agent.answer(request, call)
        return _recommendation(answer, call_id), answer.completed

    async def _run(self, step: Step, work: Callable[[], T]) -> T | AgentFailure:
        """Run `work` in a thread until the agent's time limit. A thread that hangs is abandoned.

        Work of a deterministic agent runs without a thread if the last call of this step was short. Such an agent
        computes and waits for nothing, so a longer call blocks the process only once: the next call has a thread
        again.
        """

        def guarded() -> T | AgentFailure:
            began = self._clock()
            try:
                return _guarded(work)
            finally:  # without the wait for a turn and for the start of a thread
                self._took_s[step] = self._clock() - began

        if self._is_short(step):
            result = guarded()
        else:
            result = await self._in_turn(step, guarded)
        if isinstance(result, AgentFailure) and not result.final:
            log.warning("agent %s: %s", self._agent.name, result.reason)
        return result

    def _is_short(self, step: Step) -> bool:
        return self._agent.deterministic and self._took_s.get(step, SHORT_S) < SHORT_S

    async def _in_turn(self, step: Step, guarded: Callable[[], T | AgentFailure]) -> T | AgentFailure:
        async with self._turn:
            if self._is_short(step):  # the calls before it have shown that meanwhile
                return guarded()
            try:
                async with asyncio.timeout(self._agent.timeout_s):
                    await self._free.acquire()
                    return await _in_own_thread(guarded, self._free.release)
            except TimeoutError:
                # Its thread may run on, and nobody knows for how long.
                self._took_s[step] = self._agent.timeout_s
                return AgentFailure("agent-timeout", f"no answer within {self._agent.timeout_s:g} s")


def _guarded(work: Callable[[], T]) -> T | AgentFailure:
    """Return the result of an agent's code, or its failure."""
    with FaultBarrier() as barrier:
        try:
            return work()
        except AgentRefused as refusal:
            return AgentFailure(refusal.reason, str(refusal), final=True)
        except AgentUnavailable as error:
            return AgentFailure(error.reason, str(error), retry_after_s=error.retry_after_s)
        except (
            SystemExit,
            asyncio.CancelledError,
        ) as error:  # in the loop, they would end more
            return AgentFailure("agent-fault", type(error).__name__)
    return AgentFailure("agent-fault", barrier.fault)


def _in_own_thread(work: Callable[[], T | AgentFailure], ended: Callable[[], None]) -> asyncio.Future[T | AgentFailure]:
    """Run `work` in a daemon thread: unlike a pool's, it does not keep the process from ending while a model hangs.

    `ended` is called in the event loop when the thread ends.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T | AgentFailure] = loop.create_future()

    def deliver(result: T | AgentFailure) -> None:
        ended()
        if not done.done():  # it may have timed out
            done.set_result(result)

    def run() -> None:
        try:
            result = work()
        except KeyboardInterrupt as error:  # the caller would wait until the time limit
            result = AgentFailure("agent-fault", type(error).__name__)
        with suppress(RuntimeError):  # the loop may have been closed meanwhile
            loop.call_soon_threadsafe(deliver, result)

    threading.Thread(target=run, name="agent", daemon=True).start()
    return done


class FaultBarrier(AbstractContextManager["FaultBarrier"]):
    """Catch any exception of an agent's code. Keep only its class, because the message may be personal."""

    fault = ""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.fault = kind.__name__ if kind else ""
        return kind is not None and issubclass(kind, Exception)


def _recommendation(answer: AgentAnswer, call_id: int) -> RecommendationRecorded:
    return RecommendationRecorded(
        recommendation=answer.recommendation,
        model_name=answer.model_name,
        model_version=answer.model_version,
        parameters=answer.parameters,
        prompt=answer.prompt,
        model_call_id=call_id,
    )
