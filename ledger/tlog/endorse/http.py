"""HTTP requests to endorsers, bounded in time and size even if the server hangs, sends slowly, or answers without end.

Redirects, proxies and netrc are ignored: only the configured server gets the request.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from http import HTTPStatus
from typing import NamedTuple

import httpx

from ledger.tlog.endorser_url import check_url


class EndorserError(Exception):
    """An endorser did not do as requested. The message says what happened, without content from the server."""


class Unreachable(EndorserError):
    """The endorser gave no valid HTTP response within the limits of time and size."""


class HttpAnswer(NamedTuple):
    """A response: its status and its whole body."""

    status: int
    body: bytes

    @property
    def status_line(self) -> str:
        """Return the status in digits and words, such as `404 Not Found`; in digits alone if HTTP has no words for
        it."""
        try:
            return f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            return str(self.status)


class HttpClient:
    """POST to one URL, on a connection that is kept open between requests unless `keep_open` is False.

    For one thread, except for `cancel()`. `timeout_s` bounds a whole request, from connecting to the last byte:
    httpx alone bounds each read, so the request runs in an event loop that can end it.
    """

    def __init__(self, url: str, *, timeout_s: float, max_bytes: int, keep_open: bool = True) -> None:
        check_url(url)
        self._url = url
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._runner = asyncio.Runner()
        self._client = httpx.AsyncClient(
            verify=ssl.create_default_context(),  # the certificates of the system
            trust_env=False,
            timeout=None,  # noqa: S113 - asyncio.timeout() below bounds the whole request
            headers={"User-Agent": "advice-ledger", "Accept-Encoding": "identity"},
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=int(keep_open)),
        )
        # True after an answer: the connection is kept open, and the server may close it before the next request.
        self._reused = False
        # Protects the two attributes below, which cancel() uses from another thread.
        self._lock = threading.Lock()
        self._cancelled = False
        self._task: asyncio.Task[HttpAnswer] | None = None

    def post(self, body: bytes, content_type: str) -> HttpAnswer:
        """Return the answer, whatever its status. Raises Unreachable."""
        try:
            return self._runner.run(self._cancellable(body, content_type))
        except TimeoutError:
            raise Unreachable(f"no answer within {self._timeout_s:g} s") from None
        except asyncio.CancelledError:
            raise Unreachable("the request was cancelled") from None
        except httpx.RemoteProtocolError as error:
            raise Unreachable(f"no valid HTTP response: {type(error).__name__}") from error
        except httpx.TransportError as error:
            raise Unreachable(f"not reachable: {_reason(error)}") from error
        except UnicodeError:  # raised by the look-up of the host's name
            raise Unreachable("not reachable: the host has no valid name") from None

    def cancel(self) -> None:
        """Cancel the current request, and allow no other. Called from another thread; returns at once."""
        with self._lock:
            self._cancelled = True
            if self._task is not None:
                self._runner.get_loop().call_soon_threadsafe(self._task.cancel)

    def close(self) -> None:
        """Close the connection and the event loop. No request may follow."""
        self._runner.run(self._client.aclose())
        self._runner.close()

    async def _cancellable(self, body: bytes, content_type: str) -> HttpAnswer:
        with self._lock:
            if self._cancelled:
                raise asyncio.CancelledError
            self._task = asyncio.current_task()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._try_twice(body, content_type)
        finally:
            with self._lock:
                self._task = None

    async def _try_twice(self, body: bytes, content_type: str) -> HttpAnswer:
        """Send the request. Send it once more if a kept connection turned out to be closed by the server."""
        reused, self._reused = self._reused, False
        try:
            answer = await self._exchange(body, content_type)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if not reused:
                raise
            answer = await self._exchange(body, content_type)
        self._reused = True
        return answer

    async def _exchange(self, body: bytes, content_type: str) -> HttpAnswer:
        received = bytearray()
        headers = {"Content-Type": content_type}
        async with self._client.stream("POST", self._url, content=body, headers=headers) as response:
            async for chunk in response.aiter_raw():
                received += chunk
                if len(received) > self._max_bytes:
                    raise Unreachable(f"the answer has more than {self._max_bytes} bytes")
        return HttpAnswer(response.status_code, bytes(received))


def _reason(error: BaseException | None) -> str:
    """Return the operating system's words for the cause of a failed connection, or the type of the error."""
    cause = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
