"""HTTP requests and answers as values, without input or output."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from advice_ledger_client.canonical import canonical

RETRIED_STATUSES = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class HttpRequest:
    """One HTTP request to the ledger. A write has an idempotency `key` and a `body`."""

    method: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: bytes | None = None
    key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A successful response: its JSON and its headers."""

    content: Any
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Connection:
    """The server, the credentials, and the limits of each operation."""

    base_url: str = field(repr=False)  # may contain a password
    token: str = field(repr=False)
    timeout_s: float
    retries: int
    role: str | None = None

    def arguments(self, request: HttpRequest) -> dict[str, Any]:
        """Return the arguments for the method request() of an httpx client, without the timeout."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        if self.role is not None:
            headers["Ledger-Role"] = self.role
        if request.key is not None:
            headers |= {"Idempotency-Key": request.key, "Content-Type": "application/json"}
        headers |= request.headers
        return {
            "method": request.method,
            "url": f"{self.base_url.rstrip('/')}{request.path}",
            "params": dict(request.params),
            "content": request.body,
            "headers": headers,
        }


def read(path: str, **params: object) -> HttpRequest:
    """Build a GET. Parameters that are None are left out."""
    return HttpRequest("GET", path, {name: _text(value) for name, value in params.items() if value is not None})


def write(path: str, content: Mapping[str, Any], key: str | None = None, method: str = "POST") -> HttpRequest:
    """Build a POST or PUT with a new idempotency key unless `key` is set. Members that are None are left out.

    Raises NotCanonical for a value that cannot be recorded.
    """
    members = {name: value for name, value in content.items() if value is not None}
    return HttpRequest(method, path, body=canonical(members), key=key or os.urandom(16).hex())


def write_lines(path: str, lines: Sequence[Mapping[str, Any]]) -> HttpRequest:
    """Build a POST of one JSON object on each line. Members that are None are left out.

    Raises NotCanonical for a value that cannot be recorded.
    """
    texts = [canonical({name: value for name, value in line.items() if value is not None}) for line in lines]
    headers = {"Content-Type": "application/x-ndjson"}
    return HttpRequest("POST", path, body=b"".join(text + b"\n" for text in texts), headers=headers)


def _text(value: object) -> str | int:
    """Write a query parameter as the server reads it: `true`, not `True`; times in ISO 8601."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, int) else str(value)
