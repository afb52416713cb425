"""Send one message by Standard Webhooks 1.0, with a time limit, to an address that was checked just before.

The name of the host is looked up once. If one of its addresses is not public, nothing is sent, unless the operator
allows its network. The connection is made to exactly that address, with the name kept for TLS. Redirects, proxies and
netrc are ignored. The body of the answer is not read, because nobody sees it, and of what stands before it no more
than some kilobytes are.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpcore
import httpx

from api.jobs.webhook_keys import WebhookKey
from ledger.domain.monitoring.delivery import MOST_ENDPOINTS

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Trace = Callable[[str, object], Awaitable[None]]
# The limit of a whole attempt, from the look-up of the name to the status of the answer.
TIMEOUT_S = 20.0
# The most bytes of an answer up to its body, with the 1xx answers before it, which may be without end.
MOST_ANSWER_BYTES = 64 * 1024
# The threads that look up names and send mail: two for each endpoint, as a look-up goes on after its attempt has ended.
# They are no threads of others, because a slow name server or mail server holds them for long.
THREADS = ThreadPoolExecutor(2 * MOST_ENDPOINTS, "deliveries")
USER_AGENT = "advice-ledger"


@dataclass(frozen=True)
class WebhookSettings:
    """The folder of keys, and the networks that are allowed although they are not public."""

    keys: Path
    networks: tuple[Network, ...] = ()
    timeout_s: float = TIMEOUT_S


class NotSent(Exception):
    """The message was not sent. `reason` is the name of the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NoAnswer(Exception):
    """The answer was not read: the receiver may have the message."""


@dataclass(frozen=True)
class WebhookAnswer:
    """The status of an answer, and the pause in seconds that it asks for."""

    status: int
    retry_after_s: float | None = None


def signed_headers(message: str, body: bytes, keys: Sequence[WebhookKey], now_s: int) -> dict[str, str]:
    """Return the headers of an attempt at a time, with a signature by each key."""
    content = b".".join((message.encode(), str(now_s).encode(), body))
    return {
        "webhook-id": message,
        "webhook-timestamp": str(now_s),
        "webhook-signature": " ".join(key.sign(content) for key in keys),
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "Accept-Encoding": "identity",
    }


async def send(url: str, headers: Mapping[str, str], body: bytes, settings: WebhookSettings) -> WebhookAnswer:
    """POST a message. Raises NotSent or NoAnswer."""
    sent = False

    async def trace(event: str, _: object) -> None:
        nonlocal sent
        sent = sent or event.endswith("send_request_headers.started")

    try:
        async with asyncio.timeout(settings.timeout_s):
            parsed = httpx.URL(url)
            address = await _address(parsed, settings.networks)
            return await _post(parsed, address, headers, body, trace)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise NotSent("tls-failed" if _is_tls(error) else "unreachable") from None
    except (TimeoutError, httpx.TransportError, httpx.InvalidURL, ssl.SSLError) as error:
        if sent:
            raise NoAnswer from error
        raise NotSent("unreachable") from None


def _is_tls(error: BaseException | None) -> bool:
    """Return True if TLS made the connection fail: the server has no TLS, or a certificate that is not its own."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error is not None


async def _address(url: httpx.URL, networks: Sequence[Network]) -> Address:
    """Return the address to connect to. Raises NotSent."""
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        found = await asyncio.get_running_loop().run_in_executor(THREADS, look_up, url.host, port)
    except (OSError, UnicodeError):
        raise NotSent("unknown-host") from None
    addresses = [plain_address(one) for one in found]
    if not addresses or not all(is_allowed(address, networks) for address in addresses):
        raise NotSent("address-refused")
    if url.scheme != "https" and not all(_in(address, networks) for address in addresses):
        raise NotSent("no-tls")
    return addresses[0]


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a host. Raises OSError or UnicodeError."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


# IPv6 with an IPv4 address in its last 32 bits, which a translator connects to.
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Not public, although Python says so: relays of 6to4, and examples of documentation.
NOT_PUBLIC = tuple(map(ipaddress.ip_network, ("192.88.99.0/24", "3fff::/20")))


def is_allowed(address: Address, networks: Sequence[Network]) -> bool:
    """Return True for a public address, and for one in a network that the operator allows."""
    if _in(address, networks):
        return True
    inner: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        if address in NAT64:
            return is_allowed(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF), ())
        if address.is_site_local:
            return False
        inner += [one for one in (address.sixtofour, *(address.teredo or ())) if one is not None]
    return all(one.is_global and not (one.is_multicast or one.is_reserved or _in(one, NOT_PUBLIC)) for one in inner)


def _in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def plain_address(text: str) -> Address:
    """Return an address without its zone; an IPv4 address that is mapped into IPv6 becomes the IPv4 address."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


async def _post(
    url: httpx.URL, address: Address, headers: Mapping[str, str], body: bytes, trace: Trace
) -> WebhookAnswer:
    """Send the request to this address, and read the status of the answer. Raises httpx.TransportError.

    `trace` is called for each step, with httpcore's names.
    """
    host = url.netloc.decode("ascii")
    target = url.copy_with(host=str(address))
    async with (
        httpx.AsyncClient(
            transport=_Transport(),
            trust_env=False,
            timeout=None,  # noqa: S113 - asyncio.timeout() in send() bounds the whole attempt
            follow_redirects=False,
        ) as client,
        client.stream(
            "POST",
            target,
            content=body,
            headers={**headers, "Host": host},
            extensions={"sni_hostname": url.host, "trace": trace},
        ) as response,
    ):
        return WebhookAnswer(response.status_code, _retry_after(response))


class _Transport(httpx.AsyncHTTPTransport):
    """A transport over one connection that reads no more than MOST_ANSWER_BYTES."""

    def __init__(self) -> None:
        super().__init__(verify=tls_context(), trust_env=False)
        # httpx has no argument for the network that its pool is made with.
        self._pool = httpcore.AsyncConnectionPool(ssl_context=tls_context(), network_backend=_Network())


class _Network(httpcore.AnyIOBackend):
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of httpcore
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect."""
        return _Stream(await super().connect_tcp(host, port, timeout, local_address, socket_options))


class _Stream(httpcore.AsyncNetworkStream):
    """A stream that ends with an error after MOST_ANSWER_BYTES."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream, self._left = stream, MOST_ANSWER_BYTES

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - as above
        """Read some bytes. Raises httpcore.ReadError if the answer is too long."""
        if self._left <= 0:
            raise httpcore.ReadError("the answer is too long")
        found = await self._stream.read(min(max_bytes, self._left), timeout)
        self._left -= len(found)
        return found

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as above
        """Write all bytes."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> httpcore.AsyncNetworkStream:
        """Begin TLS."""
        return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """Return what the network knows about the connection."""
        return self._stream.get_extra_info(info)


@lru_cache
def tls_context() -> ssl.SSLContext:
    """Return a context with the certificates of the system. Reading them takes so long that it is done once."""
    return ssl.create_default_context()


def _retry_after(response: httpx.Response) -> float | None:
    """Return the seconds of Retry-After. For a date, return None: clocks differ, so the ledger's own pauses apply."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def now_s() -> int:
    """Return the time of an attempt in seconds since 1970."""
    return int(time.time())
