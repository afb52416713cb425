"""Share parts of the programs that serve HTTP: the listening socket, its address, and uvicorn."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable, Iterator

import uvicorn

from api.cli.shared import CannotRun

# At the end, current requests get this long to finish.
GRACE_S = 10
# Then everything else ends within this time, also if the database hangs.
STOP_S = 10


@contextlib.contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """Bind a socket to this address. It does not listen yet, so early connections are refused. Raises CannotRun."""
    try:
        addresses = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise CannotRun(f"{host} is not an address of this machine: {error}") from error
    family, _, _, _, address = addresses[0]
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            raise cannot_listen(host, port, error) from error
        yield listener


def run_server(config: uvicorn.Config, listener: socket.socket, on_start: Callable[[], None]) -> None:
    """Serve until a signal ends it; call `on_start` once requests are accepted."""

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                on_start()

    # After everything is closed, uvicorn raises the signal that ended it again.
    with contextlib.suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listener])


def is_loopback(listener: socket.socket) -> bool:
    """Return True if only this machine can reach the socket."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def base_url(host: str, listener: socket.socket) -> str:
    """Return the URL of the server for callers on this machine."""
    return f"http://{_in_url(host)}:{listener.getsockname()[1]}"


def cannot_listen(host: str, port: int, error: OSError) -> CannotRun:
    """Return the error for an address on which the server cannot listen."""
    if error.errno == errno.EADDRINUSE:
        return CannotRun(f"port {port} of {host} is in use, perhaps by another advice-ledger: choose one with --port")
    return CannotRun(f"cannot listen on {host} port {port}: {error.strerror}")


def _in_url(host: str) -> str:
    """Return a host that this machine can reach, in the form for URLs."""
    if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - compared with, not bound to
        return "127.0.0.1" if host != "::" else "[::1]"
    return f"[{host}]" if ":" in host else host
