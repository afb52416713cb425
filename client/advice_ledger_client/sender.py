"""Send requests with httpx, and retry. The clients import this module when they are made.

Retried are transport errors and the statuses 429, 502, 503 and 504. Any other answer is final. A write keeps its
idempotency key and its bytes for all attempts, so the server records it once, however often it arrives.

httpx loads some 150 modules, so `import advice_ledger_client` alone does not load it.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from time import monotonic
from typing import Any, BinaryIO

import anyio
import httpx

from advice_ledger_client.errors import LedgerProblem, Unreachable
from advice_ledger_client.wire import RETRIED_STATUSES, Answer, Connection, HttpRequest

log = logging.getLogger("advice_ledger_client")

RETRIED_ERRORS = (httpx.TransportError, httpx.DecodingError)
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
# An answer without an end is given up if nothing comes for so long: the ledger sends something every 15 seconds.
SILENCE_S = 60.0
PROBLEM_JSON = "application/problem+json"
# An answer that is not the ledger's is quoted up to this length.
MAX_DETAIL_CHARS = 200


class Attempts:
    """The attempts at one request: at most `retries` after the first, all within `timeout_s`."""

    def __init__(self, request: HttpRequest, connection: Connection) -> None:
        self._request = request
        self._retries = connection.retries
        self._deadline = monotonic() + connection.timeout_s
        self._count = 0

    def timeout_s(self) -> float:
        """Return the seconds that are left for the next attempt."""
        return max(0.001, self._deadline - monotonic())

    def after_error(self, error: httpx.RequestError) -> float:
        """Return the pause in seconds before the next attempt. Raises Unreachable if there is none."""
        pause_s = self._pause_s()
        if self._exhausted(pause_s):
            message = f"no answer to {self._request.method} {self._request.path} in {self._count + 1} attempts"
            raise Unreachable(message) from error
        self._count += 1
        return pause_s

    def after_response(self, response: httpx.Response) -> float:
        """Return the pause in seconds before the next attempt. Raises LedgerProblem if there is none."""
        pause_s = self._pause_s() + _retry_after_s(response)
        if self._exhausted(pause_s):
            raise _problem(response)
        self._count += 1
        return pause_s

    def _pause_s(self) -> float:
        """Double the pause after each attempt, and shorten it at random, so that callers do not return together."""
        longest_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * float(2**self._count))
        return longest_s * random.uniform(0.5, 1.0)  # noqa: S311 (no secret: it spreads the load)

    def _exhausted(self, pause_s: float) -> bool:
        return self._count >= self._retries or monotonic() + pause_s >= self._deadline


class Sender:
    """Sends requests and blocks until the answer is there."""

    log = log

    def __init__(self, connection: Connection, http: httpx.Client | None) -> None:
        self.url = httpx.URL(connection.base_url)
        self._connection = connection
        self._http = http or httpx.Client()
        self._owned = http is None

    def send(self, request: HttpRequest) -> Answer:
        """Send a request until it has a final answer. Raises LedgerProblem or Unreachable."""
        arguments = self._connection.arguments(request)
        attempts = Attempts(request, self._connection)
        while True:
            try:
                response = self._http.request(**arguments, timeout=attempts.timeout_s())
            except RETRIED_ERRORS as error:
                pause_s = attempts.after_error(error)
            else:
                if response.status_code not in RETRIED_STATUSES:
                    return _answer(response)
                pause_s = attempts.after_response(response)
            self.sleep(pause_s)

    @contextmanager
    def open(self, request: Callable[[], HttpRequest]) -> Iterator[Iterator[str]]:
        """Open an answer without an end; yield its lines, which end when the connection does.

        Raises LedgerProblem or Unreachable if it cannot be opened.
        """
        attempts = Attempts(request(), self._connection)
        while True:
            arguments = self._connection.arguments(request())
            timeout = httpx.Timeout(attempts.timeout_s(), read=SILENCE_S)
            try:
                with self._http.stream(**arguments, timeout=timeout) as response:
                    if response.is_success:
                        yield _lines(response)
                        return
                    response.read()
            except RETRIED_ERRORS as error:
                pause_s = attempts.after_error(error)
            else:
                if response.status_code not in RETRIED_STATUSES:
                    raise _problem(response)
                pause_s = attempts.after_response(response)
            self.sleep(pause_s)

    def save(self, request: HttpRequest, file: BinaryIO) -> None:
        """Write the bytes of an answer to a file. Raises LedgerProblem, and httpx.HTTPError if the connection ends."""
        timeout = self._connection.timeout_s
        with self._http.stream(**self._connection.arguments(request), timeout=timeout) as response:
            if not response.is_success:
                response.read()
                raise _problem(response)
            file.writelines(response.iter_bytes())

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def shield(self) -> AbstractContextManager[object]:
        """Do nothing: a thread is not cancelled."""
        return nullcontext()

    def close(self) -> None:
        """Close the connections, unless they belong to the caller's httpx client."""
        if self._owned:
            self._http.close()


class AsyncSender:
    """Sends requests and awaits the answer."""

    log = log

    def __init__(self, connection: Connection, http: httpx.AsyncClient | None) -> None:
        self.url = httpx.URL(connection.base_url)
        self._connection = connection
        self._http = http or httpx.AsyncClient()
        self._owned = http is None

    async def send(self, request: HttpRequest) -> Answer:
        """Send a request until it has a final answer. Raises LedgerProblem or Unreachable."""
        arguments = self._connection.arguments(request)
        attempts = Attempts(request, self._connection)
        while True:
            try:
                response = await self._http.request(**arguments, timeout=attempts.timeout_s())
            except RETRIED_ERRORS as error:
                pause_s = attempts.after_error(error)
            else:
                if response.status_code not in RETRIED_STATUSES:
                    return _answer(response)
                pause_s = attempts.after_response(response)
            await self.sleep(pause_s)

    @asynccontextmanager
    async def open(self, request: Callable[[], HttpRequest]) -> AsyncIterator[AsyncIterator[str]]:
        """Open an answer without an end; yield its lines, which end when the connection does.

        Raises LedgerProblem or Unreachable if it cannot be opened.
        """
        attempts = Attempts(request(), self._connection)
        while True:
            arguments = self._connection.arguments(request())
            timeout = httpx.Timeout(attempts.timeout_s(), read=SILENCE_S)
            try:
                async with self._http.stream(**arguments, timeout=timeout) as response:
                    if response.is_success:
                        yield _lines_async(response)
                        return
                    await response.aread()
            except RETRIED_ERRORS as error:
                pause_s = attempts.after_error(error)
            else:
                if response.status_code not in RETRIED_STATUSES:
                    raise _problem(response)
                pause_s = attempts.after_response(response)
            await self.sleep(pause_s)

    async def save(self, request: HttpRequest, file: BinaryIO) -> None:
        """Write the bytes of an answer to a file. Raises LedgerProblem, and httpx.HTTPError if the connection ends."""
        timeout = self._connection.timeout_s
        async with self._http.stream(**self._connection.arguments(request), timeout=timeout) as response:
            if not response.is_success:
                await response.aread()
                raise _problem(response)
            async for piece in response.aiter_bytes():
                file.write(piece)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)

    def shield(self) -> AbstractContextManager[object]:
        """Keep a cancellation from interrupting the block; the deadline of the operation still ends it."""
        return anyio.CancelScope(shield=True)

    async def aclose(self) -> None:
        """Close the connections, unless they belong to the caller's httpx client."""
        if self._owned:
            await self._http.aclose()


def _lines(response: httpx.Response) -> Iterator[str]:
    """Yield lines until the connection ends, in whatever way: the follower comes back."""
    with suppress(*RETRIED_ERRORS):
        yield from response.iter_lines()


async def _lines_async(response: httpx.Response) -> AsyncIterator[str]:
    with suppress(*RETRIED_ERRORS):
        async for line in response.aiter_lines():
            yield line


def _retry_after_s(response: httpx.Response) -> int:
    seconds = response.headers.get("retry-after", "")
    return int(seconds) if seconds.isascii() and seconds.isdecimal() and len(seconds) < 10 else 0


def _answer(response: httpx.Response) -> Answer:
    """Read a final response. Raises LedgerProblem unless it is a success with JSON."""
    content = _json(response)
    if not response.is_success or content is None:
        raise _problem(response)
    return Answer(content, response.headers)


def _problem(response: httpx.Response) -> LedgerProblem:
    """Read the problem (RFC 9457) from a response; without one, a server other than the ledger has answered."""
    status = response.status_code
    if response.headers.get("content-type", "").startswith(PROBLEM_JSON):
        content = _json(response)
        if isinstance(content, dict):
            return LedgerProblem(str(content.get("type", "")).removeprefix("/problems/"), status, content)
    return LedgerProblem(f"http-{status}", status, {"detail": response.text[:MAX_DETAIL_CHARS]})


def _json(response: httpx.Response) -> Any:
    """Return the JSON of a response, or None if it is not JSON."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None
