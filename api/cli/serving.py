"""How programs that run for long do: where they listen, how they serve, and where they log to."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable, Iterator

import uvicorn

from api.cli.shared import CannotRun

# Requests in hand are finished for so long, once it is to end.
GRACE_S = 10


@contextlib.contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket on this address, not listening yet: who connects early is refused at once. Raises CannotRun."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise CannotRun(f"{host} is no address of this machine: {error}") from error
    family, _, _, _, address = found[0]
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            raise cannot_listen(host, port, error) from error
        yield listener


def run_server(config: uvicorn.Config, listener: socket.socket, on_start: Callable[[], None]) -> None:
    """Serves until a signal ends it; `on_start` is called once requests are taken."""

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                on_start()

    # uvicorn raises the signal that ended it once more, after everything is closed
    with contextlib.suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listener])


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine can reach the socket."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def base_url(host: str, listener: socket.socket) -> str:
    """The address to ask, for callers on this machine."""
    return f"http://{_in_url(host)}:{listener.getsockname()[1]}"


def cannot_listen(host: str, port: int, error: OSError) -> CannotRun:
    """Why this address is not listened on, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return CannotRun(f"port {port} of {host} is in use, perhaps by another advice-ledger: choose one with --port")
    return CannotRun(f"cannot listen on {host} port {port}: {error.strerror}")


def _in_url(host: str) -> str:
    """A host that curl on this machine can reach, in the form that a URL has it."""
    if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - compared with, not bound to
        return "127.0.0.1" if host != "::" else "[::1]"
    return f"[{host}]" if ":" in host else host
