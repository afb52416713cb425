"""An operation as a generator that does no input or output: it yields what is to be sent, and gets what came back.

    Flow        an operation: yields Call or Pause, gets an Answer back, returns its result
    attempts()  one Call: yields httpx-ready Attempts and Pauses, gets responses, returns the Answer or raises
    steps()     an operation whose Calls are all made by attempts()

The two clients differ in how they drive `steps` alone (client/advice_ledger_client/clients.py).

What is sent again: a Call that met a transport error, 429, 502, 503 or 504. Any other answer is final. A write has one
idempotency key for all of its attempts, so the server records it once however often it arrives.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import httpx
import orjson

from advice_ledger_client.errors import ClientError, LedgerProblem, Unreachable
from ledger.proof.format.canonical import canonical
from ledger.store.envelope import uuid7

RETRIED = frozenset({429, 502, 503, 504})
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
PROBLEM_JSON = "application/problem+json"
# How much of an answer that is none of ours goes into a message.
MAX_DETAIL_CHARS = 200

T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """One request to the ledger. With a `key` it is a write, and `body` is sent as it stands at every attempt."""

    method: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: bytes | None = None
    key: str | None = None


@dataclass(frozen=True)
class Attempt:
    """A Call to be sent now, to be given up after so long."""

    call: Call
    timeout_s: float


@dataclass(frozen=True)
class Pause:
    """Nothing to be done for so long."""

    seconds: float


@dataclass(frozen=True)
class Answer:
    """A successful response: its JSON and its headers."""

    content: Any
    headers: httpx.Headers


@dataclass(frozen=True)
class Patience:
    """How long and how often a Call is tried: at most `retries` times after the first, all within `timeout_s`."""

    timeout_s: float = 30.0
    retries: int = 8


Flow: TypeAlias = Generator[Call | Pause, Answer | None, T]
Steps: TypeAlias = Generator[Attempt | Pause, httpx.Response | None, T]


def read(path: str, **params: object) -> Call:
    """A GET; parameters that are None are left out, and the trailing _ that keeps a name off a Python word."""
    given = {name.rstrip("_"): _text(value) for name, value in params.items() if value is not None}
    return Call("GET", path, given)


def write(path: str, content: Mapping[str, Any], key: str | UUID | None) -> Call:
    """A POST; members that are None are left out. Raises NotCanonical for what could not be recorded."""
    given = {name: value for name, value in content.items() if value is not None}
    return Call("POST", path, body=canonical(given), key=str(key or uuid7()))


def steps(flow: Flow[T], patience: Patience) -> Steps[T]:
    """Makes each Call of an operation; its result."""
    try:
        wanted = next(flow)
        while True:
            if isinstance(wanted, Pause):
                yield wanted
                wanted = flow.send(None)
                continue
            try:
                answer = yield from attempts(wanted, patience)
            except ClientError as error:
                wanted = flow.throw(error)
            else:
                wanted = flow.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result


def attempts(call: Call, patience: Patience) -> Steps[Answer]:
    """Sends a Call until there is a final answer. Raises LedgerProblem or Unreachable; an error is thrown in."""
    deadline = monotonic() + patience.timeout_s
    tried = 0
    while True:
        response: httpx.Response | None = None
        fault: httpx.RequestError | None = None
        try:
            response = yield Attempt(call, max(0.001, deadline - monotonic()))
        except (httpx.TransportError, httpx.DecodingError) as error:
            fault = error
        if response is not None and response.status_code not in RETRIED:
            return _answer(response)
        pause_s = _pause_s(response, tried)
        if tried >= patience.retries or monotonic() + pause_s >= deadline:
            if response is not None:
                raise _problem(response)
            raise Unreachable(f"no answer to {call.method} {call.path} in {tried + 1} attempts") from fault
        tried += 1
        yield Pause(pause_s)


def _pause_s(response: httpx.Response | None, tried: int) -> float:
    """What the server asks for, and otherwise twice as long each time, less a random part so that not all come back."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * float(2**tried))
    pause_s = longest * random.uniform(0.5, 1.0)  # noqa: S311 (to spread callers, nothing to guess)
    asked = response.headers.get("retry-after", "") if response is not None else ""
    return pause_s + int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 10 else pause_s


def _answer(response: httpx.Response) -> Answer:
    if not response.is_success:
        raise _problem(response)
    try:
        return Answer(orjson.loads(response.content), response.headers)
    except orjson.JSONDecodeError:
        raise _problem(response) from None


def _problem(response: httpx.Response) -> LedgerProblem:
    """The problem in a response; where it holds none, somebody else than the ledger has answered."""
    status = response.status_code
    if response.headers.get("content-type", "").startswith(PROBLEM_JSON):
        try:
            content = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            content = None
        if isinstance(content, dict):
            return LedgerProblem(str(content.get("type", "")).removeprefix("/problems/"), status, content)
    return LedgerProblem(f"http-{status}", status, {"detail": response.text[:MAX_DETAIL_CHARS]})


def _text(value: object) -> str | int:
    """As the server reads a query parameter: `true`, not `True`."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, int) else str(value)
