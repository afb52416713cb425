"""A model call, recorded before the model is called and after it has answered.

    with client.model_call(7, provider_name="openai", request_model="gpt-5", input_messages=[…]) as call:
        response = …                    # not reached unless the start is recorded
        call.complete([…], response_id=response.id)
    call.receipt                        # the places of start and end in the chain

If the start cannot be recorded, NotRecorded is raised and the block does not run. With `fail_closed=False` the block
runs if the ledger cannot be reached; a refusal (agent suspended, request finished) is raised in either mode.

This module decides what to send. SyncModelCall (client.py) and AsyncModelCall (async_client.py) send it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any, TypedDict

from advice_ledger_client.allowlist import UNKNOWN, code
from advice_ledger_client.errors import AlreadyEntered, LedgerProblem, NotRecorded, Unreachable
from advice_ledger_client.receipts import CallReceipt
from advice_ledger_client.results import receipt_of
from advice_ledger_client.wire import RETRIED_STATUSES, Answer, HttpRequest, write

if TYPE_CHECKING:
    import logging

    from advice_ledger_client.signing import SigningKey

MAX_DETAIL_CHARS = 20_000
NO_RESULT = "no-result"


class _RequiredMembers(TypedDict):
    provider_name: str
    request_model: str
    input_messages: Any


class CallStart(_RequiredMembers, total=False):
    """The members of the event model-call.started; docs/use/model-calls.md explains each."""

    operation_name: str
    system_instructions: Any
    request_parameters: Mapping[str, Any] | None
    agent_version: str | None
    prompt_name: str | None
    prompt_version: str | None
    prompt_sha256: str | None
    conversation_id: str | None
    tool_definitions_sha256: str | None
    shown: Sequence[Mapping[str, Any]]
    as_of: int | None
    trace_id: str | None
    span_id: str | None


class ModelCall:
    """One call of a model, as a context manager that can be entered once."""

    def __init__(
        self,
        request_id: int,
        start: CallStart,
        *,
        fail_closed: bool,
        log: logging.Logger,
        signing_key: SigningKey | None = None,
    ) -> None:
        _check_members(start)
        self._log = log
        self._signing_key = signing_key
        # The idempotency key of the start: the end names the start by the id that follows from it.
        self._key = os.urandom(16).hex()
        self.request_id = request_id
        self.fail_closed = fail_closed
        # The arguments of complete(), recorded or not.
        self.result: dict[str, Any] | None = None
        self.receipt: CallReceipt | None = None
        self._start = start
        self._failure: dict[str, Any] | None = None
        self._entered = False
        self._began = monotonic()
        self._took_ms: int | None = None

    def __repr__(self) -> str:
        """Show no messages, which may be personal."""
        return f"<{type(self).__name__} for request {self.request_id}, {self.receipt}>"

    @property
    def model_call_id(self) -> int:
        """The call's id in the ledger. Raises NotRecorded if the start is not recorded."""
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
        """Set the model's answer, which is recorded when the block ends. The last call counts."""
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
        """Set a failure, which is recorded when the block ends.

        `error_type` is a code such as `timeout` and is recorded in clear. Free text in its place is recorded as
        `unknown`, and sealed in front of `detail`.
        """
        self._took_ms = self._elapsed_ms()
        self.result = None
        known = code(error_type)
        texts = [detail] if known else [error_type, detail]
        sealed = clean(": ".join(filter(None, texts)), MAX_DETAIL_CHARS)
        self._failure = {"error_type": known or UNKNOWN, "detail": sealed or None}

    def _start_request(self) -> HttpRequest:
        return write(f"/portfolio/requests/{self.request_id}/model-calls", self._start, self._key)

    def _enter(self) -> None:
        """Raise AlreadyEntered the second time: the first answer would be recorded as this call's."""
        if self._entered:
            raise AlreadyEntered(f"this model call for request {self.request_id} was entered before: make another")
        self._entered = True

    def _started(self, answer: Answer) -> None:
        self.receipt = CallReceipt(answer.content["model_call_id"], receipt_of(answer))
        self._began = monotonic()

    def _not_started(self, error: Exception) -> None:
        """Raise NotRecorded, or let the block run unrecorded."""
        if self.fail_closed or not unreachable(error):
            message = f"the model was not called, as the ledger did not record the start: {error}"
            raise NotRecorded(message, self) from error
        self._log.warning("model call for request %s is not recorded: %s", self.request_id, error)
        self._began = monotonic()

    def _settle(self, error: BaseException | None) -> bool:
        """Make a failure of an exception, or of a block without a result. Return False for the latter."""
        if error is not None:
            self.fail(qualified_name(error), str(error))
        settled = self.result is not None or self._failure is not None
        if not settled:
            self.fail(NO_RESULT)
        return settled

    def _end_request(self, model_call_id: int) -> HttpRequest:
        kind, content = ("failure", self._failure) if self._failure is not None else ("completion", self.result)
        took_ms = self._elapsed_ms() if self._took_ms is None else self._took_ms
        request = write(f"/model-calls/{model_call_id}/{kind}", {**(content or {}), "latency_ms": took_ms})
        return request if self._signing_key is None else self._signing_key.signed(request, self._key)

    def _ended(self, receipt: CallReceipt, answer: Answer) -> None:
        self.receipt = replace(receipt, ended=receipt_of(answer))

    def _not_ended(self, fault: Exception, error: BaseException | None) -> None:
        """Report an end that is not recorded: as a note on the block's own `error`, or as NotRecorded."""
        message = f"the end of model call {self.model_call_id} is not recorded: {fault}"
        if error is not None:
            error.add_note(message)
        elif self.fail_closed or not unreachable(fault):
            raise NotRecorded(message, self) from fault
        self._log.warning("%s", message)

    def _elapsed_ms(self) -> int:
        return int((monotonic() - self._began) * 1000)


def unreachable(error: Exception) -> bool:
    """Return True if the ledger gave no answer, False if it refused."""
    return isinstance(error, Unreachable) or (isinstance(error, LedgerProblem) and error.status in RETRIED_STATUSES)


def qualified_name(error: BaseException) -> str:
    """Return the class of an exception with its module, such as `httpx.ReadTimeout`; built-in ones without."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def clean(text: str, most_chars: int) -> str:
    """Replace the characters that the ledger refuses, so that no error message prevents its own record."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()[:most_chars]


def _check_members(start: Mapping[str, Any]) -> None:
    required = CallStart.__required_keys__
    missing = sorted(required - start.keys())
    unknown = sorted(start.keys() - required - CallStart.__optional_keys__)
    if missing or unknown:
        raise TypeError(f"model_call(): missing members {missing}, unknown members {unknown}; see CallStart")
