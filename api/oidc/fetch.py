"""Fetch JSON from an identity provider over HTTP, with a deadline and a limit on the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from ledger.errors import Unavailable

MAX_BYTES = 256 * 1024
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class ProviderUnavailable(Unavailable):
    """The identity provider did not answer, or not as the standard requires."""

    retry_after_s = 5


def is_safe(url: object) -> bool:
    """Return True for an address on which nobody can eavesdrop: https, or this machine."""
    try:
        parts = urlsplit(url) if type(url) is str else None
        host = None if parts is None else parts.hostname
    except ValueError:
        return False
    if parts is None or host is None or parts.username is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)


async def fetch_json(url: str, *, within_s: float, form: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Get a JSON object; with `form`, post the form.

    Raises ProviderUnavailable, which names neither values nor secrets.
    """
    try:
        async with (
            asyncio.timeout(within_s),
            httpx.AsyncClient(timeout=within_s) as client,
            client.stream("GET" if form is None else "POST", url, data=form) as response,
        ):
            content = b""
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise ProviderUnavailable(f"the identity provider answers with more than {MAX_BYTES} bytes")
            if response.status_code != httpx.codes.OK:
                raise ProviderUnavailable(f"the identity provider answers with status {response.status_code}")
    except TimeoutError:
        raise ProviderUnavailable("the identity provider does not answer in time") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ProviderUnavailable(f"the identity provider cannot be asked: {type(error).__name__}") from None
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        found = None
    if type(found) is not dict:
        raise ProviderUnavailable("the identity provider answers with something else than a JSON object")
    return found
