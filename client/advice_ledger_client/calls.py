"""A model call, recorded before the model is called and after it answered.

    with client.model_call(7, provider_name="openai", request_model="gpt-5", input_messages=[…]) as call:
        answer = …                      # not reached unless the ledger has the start
        call.complete([…], response_id=answer.id)
    call.receipt                        # where both stand in the chain

Not recorded at the start: NotRecorded, and the block does not run. `fail_closed=False` runs it all the same where the
ledger cannot be reached; a ledger that answers no (the agent is suspended, the request finished) is obeyed either way.
A block runs once: entering the same call again is AlreadyEntered.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from advice_ledger_client.errors import (
    AlreadyEntered,
    ClientError,
    LedgerProblem,
    NotCompleted,
    NotRecorded,
    Unreachable,
)
from advice_ledger_client.flow import Flow
from advice_ledger_client.operations import Receipt, receipt_of, sent
from api.otlp.allowlist import UNKNOWN, code
from ledger.proof.format.canonical import NotCanonical
from ledger.store.envelope import uuid7

log = logging.getLogger(__name__)

MAX_DETAIL_CHARS = 20_000
NO_RESULT = "no-result"


@dataclass(frozen=True)
class CallReceipt:
    """Where a model call stands in the chain; `ended` is None until its end is recorded."""

    model_call_id: int
    started: Receipt
    ended: Receipt | None = None


class ModelCall:
    """One call of a model; SyncModelCall and AsyncModelCall (client/advice_ledger_client/clients.py) are its context managers."""

    def __init__(self, begun: Begun) -> None:
        self.request_id = begun.request_id
        self.fail_closed = begun.fail_closed
        # What complete() was given, whether or not it could be recorded.
        self.result: dict[str, Any] | None = None
        self.receipt: CallReceipt | None = None
        self._start = begun.start
        self._failure: dict[str, Any] | None = None
        self._entered = False
        self._began = monotonic()
        self._took_ms: int | None = None

    def __repr__(self) -> str:
        """Without the messages, which may be personal."""
        return f"<{type(self).__name__} for request {self.request_id}, {self.receipt}>"

    @property
    def model_call_id(self) -> int:
        """The call's id in the ledger. Raises NotRecorded where there is none."""
        if self.receipt is None:
            raise NotRecorded("the start of this model call is not recorded", self)
        return self.receipt.model_call_id

    def complete(
        self,
        output_messages: Any,
        *,
        response_id: str | None = None,
        response_model: str | None = None,
        finish_reasons: Sequence[str] | None = None,
        usage_input_tokens: int | None = None,
        usage_output_tokens: int | None = None,
        latency_ms: int | None = None,
    ) -> None:
        """What the model answered; recorded when the block ends. The last of several counts."""
        self._took_ms = self._elapsed_ms() if latency_ms is None else latency_ms
        self._failure = None
        self.result = {
            "output_messages": output_messages,
            "response_id": response_id,
            "response_model": response_model,
            "response_finish_reasons": None if finish_reasons is None else list(finish_reasons),
            "usage_input_tokens": usage_input_tokens,
            "usage_output_tokens": usage_output_tokens,
        }

    def fail(self, error_type: str, detail: str | None = None) -> None:
        """That nothing usable came back, where no exception says so; recorded when the block ends.

        `error_type` is in clear: a code such as `timeout`. Words in its place are sealed, before `detail`.
        """
        self._took_ms = self._elapsed_ms()
        self.result = None
        known = code(error_type)
        words = [detail] if known else [error_type, detail]
        said = clean(": ".join(filter(None, words)), MAX_DETAIL_CHARS)
        self._failure = {"error_type": known or UNKNOWN, "detail": said or None}

    def starting(self) -> Flow[None]:
        """Records the start. Raises NotRecorded, or AlreadyEntered before anything is sent."""
        if self._entered:
            raise AlreadyEntered(f"this model call for request {self.request_id} was entered before: make another")
        self._entered = True
        path = f"/portfolio/requests/{self.request_id}/model-calls"
        try:
            answer = yield from sent(path, self._start, str(uuid7()))
            self.receipt = CallReceipt(answer.content["model_call_id"], receipt_of(answer))
        except (ClientError, NotCanonical) as error:
            if self.fail_closed or not unreachable(error):
                raise NotRecorded(
                    f"the model was not called, as the ledger has no record of it: {error}", self
                ) from error
            log.warning("model call for request %s goes unrecorded: %s", self.request_id, error)
        self._began = monotonic()

    def ending(self, error: BaseException | None) -> Flow[None]:
        """Records the end: completed, or failed with what the block raised. Raises NotRecorded or NotCompleted."""
        if error is not None:
            self.fail(qualified_name(error), str(error))
        forgotten = self.result is None and self._failure is None
        if forgotten:
            self.fail(NO_RESULT)
        try:
            yield from self._record_end()
        except (ClientError, NotCanonical) as fault:
            self._unrecorded_end(error, fault)
        if forgotten:
            raise NotCompleted("the block ended without complete(): the call is recorded as failed, no-result")

    def _record_end(self) -> Flow[None]:
        if self.receipt is None:
            return
        kind, content = ("failure", self._failure) if self._failure is not None else ("completion", self.result)
        took_ms = self._elapsed_ms() if self._took_ms is None else self._took_ms
        path = f"/model-calls/{self.receipt.model_call_id}/{kind}"
        answer = yield from sent(path, {**(content or {}), "latency_ms": took_ms}, str(uuid7()))
        self.receipt = CallReceipt(self.receipt.model_call_id, self.receipt.started, receipt_of(answer))

    def _unrecorded_end(self, error: BaseException | None, fault: Exception) -> None:
        """What the block raised comes first; otherwise the caller has to know."""
        message = f"the end of model call {self.model_call_id} is not recorded: {fault}"
        if error is not None:
            error.add_note(message)
        elif self.fail_closed or not unreachable(fault):
            raise NotRecorded(message, self) from fault
        log.warning("%s", message)

    def _elapsed_ms(self) -> int:
        return int((monotonic() - self._began) * 1000)


@dataclass(frozen=True)
class Begun:
    """A model call that is to be recorded: for which request, with which members of model-call.started."""

    request_id: int
    start: dict[str, Any]
    fail_closed: bool


def model_call(  # noqa: PLR0913 (members of the event, by name)
    request_id: int,
    *,
    provider_name: str,
    request_model: str,
    input_messages: Any,
    operation_name: str = "chat",
    system_instructions: Any = None,
    request_parameters: Mapping[str, Any] | None = None,
    agent_version: str | None = None,
    prompt_name: str | None = None,
    prompt_version: str | None = None,
    prompt_sha256: str | None = None,
    tool_definitions_sha256: str | None = None,
    shown: Sequence[Mapping[str, Any]] = (),
    as_of: int | None = None,
    trace_id: str | None = None,
    span_id: str | None = None,
    fail_closed: bool = True,
) -> Begun:
    """A model call, as a context manager: recorded before the block is entered and after it is left. Role: agent.

    docs/use/model-calls.md says what each member is. Raises NotRecorded when the block is entered or left.
    """
    start = {
        "provider_name": provider_name,
        "request_model": request_model,
        "input_messages": input_messages,
        "operation_name": operation_name,
        "system_instructions": system_instructions,
        "request_parameters": None if request_parameters is None else dict(request_parameters),
        "agent_version": agent_version,
        "prompt_name": prompt_name,
        "prompt_version": prompt_version,
        "prompt_sha256": prompt_sha256,
        "tool_definitions_sha256": tool_definitions_sha256,
        "shown": [dict(one) for one in shown],
        "as_of": as_of,
        "trace_id": trace_id,
        "span_id": span_id,
    }
    return Begun(request_id, start, fail_closed)


def unreachable(error: Exception) -> bool:
    """Whether the ledger could not be asked, in contrast to saying no."""
    return isinstance(error, Unreachable) or (isinstance(error, LedgerProblem) and error.status in {429, 502, 503, 504})


def qualified_name(error: BaseException) -> str:
    """`TimeoutError`, `httpx.ReadTimeout`: the class of an exception, with its module unless that is Python's own."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def clean(text: str, most_chars: int) -> str:
    """Text that the ledger can hold: an error's message is no reason to lose the error."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()[:most_chars]
