"""Asks somebody else's server over HTTP, within bounds whatever it does: hang, drip, or answer without end.

Redirects are not followed: whom to ask is configured, and the body is not for others.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from typing import NamedTuple
from urllib.parse import urlsplit

CHUNK = 65_536


class EndorserError(Exception):
    """Somebody outside did not do what was asked of them; the message says what happened, without what they sent."""


class Unreachable(EndorserError):
    """No answer, or none that is HTTP, in time and within the bounds."""


class HttpAnswer(NamedTuple):
    """What came back. `kind` is the media type, without parameters."""

    status: int
    kind: str
    body: bytes


class HttpClient:
    """POST to one address, by one thread at a time, on a connection that is kept open between requests."""

    def __init__(self, url: str, *, timeout_s: float, most_bytes: int) -> None:
        where = address(url)
        self._path = where.path
        self._timeout_s = timeout_s
        self._most_bytes = most_bytes
        kind = http.client.HTTPSConnection if where.secure else http.client.HTTPConnection
        self._conn = kind(where.host, where.port, timeout=timeout_s)
        self._cut_off = threading.Event()

    def post(self, body: bytes, content_type: str) -> HttpAnswer:
        """The answer, whatever its status. A kept connection that the other side has closed is made anew."""
        kept = self._conn.sock is not None
        try:
            return self._exchange(body, content_type)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            if not kept or self._cut_off.is_set():
                raise self._unreachable(error) from error
        try:
            return self._exchange(body, content_type)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise self._unreachable(error) from error

    def cut(self) -> None:
        """Ends the request in hand, from another thread. There is none after it."""
        self._cut_off.set()
        sock = self._conn.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own, which would take its state from under the thread that reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the connection; the next request opens another."""
        self._conn.close()

    def _exchange(self, body: bytes, content_type: str) -> HttpAnswer:
        # The socket's timeout starts anew with every byte; the timer does not.
        timer = threading.Timer(self._timeout_s, self.cut)
        timer.daemon = True
        self._cut_off.clear()
        timer.start()
        try:
            self._conn.request("POST", self._path, body, {"Content-Type": content_type})
            with contextlib.closing(self._conn.getresponse()) as response:
                return HttpAnswer(response.status, _kind(response), self._read(response))
        finally:
            timer.cancel()

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        found = bytearray()
        while piece := response.read1(CHUNK):
            found += piece
            if len(found) > self._most_bytes:
                raise http.client.HTTPException(f"more than {self._most_bytes} bytes")
        if self._cut_off.is_set():
            raise TimeoutError
        return bytes(found)

    def _unreachable(self, error: Exception) -> Unreachable:
        if self._cut_off.is_set() or isinstance(error, TimeoutError):
            return Unreachable(f"no answer within {self._timeout_s:g} s")
        if isinstance(error, OSError):
            return Unreachable(f"not reachable: {error.strerror or type(error).__name__}")
        return Unreachable(f"no answer that can be used: {_reason(error)}")


class HttpAddress(NamedTuple):
    """Where to send a request."""

    secure: bool
    host: str
    port: int | None
    path: str


def address(url: str) -> HttpAddress:
    """Takes an http or https URL apart. Raises ValueError, which does not repeat it: it may hold a password."""
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError("not a URL")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an http or https URL")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("a URL with a password, a query or a fragment")
    return HttpAddress(parts.scheme == "https", parts.hostname, parts.port, parts.path or "/")


def _kind(response: http.client.HTTPResponse) -> str:
    return (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()


def _reason(error: Exception) -> str:
    """Our own words, or the kind of error: http.client repeats what it could not read."""
    return str(error) if type(error) is http.client.HTTPException else type(error).__name__
