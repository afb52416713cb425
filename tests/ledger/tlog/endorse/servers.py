"""Servers that do what those endorsers may do: answer, lie, hang, drip, and never stop talking."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NEVER = threading.Event()

# Answers a request, given its body and a function that sends bytes.
Behave = Callable[[bytes, Callable[[bytes], object]], None]


@contextlib.contextmanager
def answering(behave: Behave) -> Iterator[str]:
    """The address of a server that behaves so to every POST."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with contextlib.suppress(OSError):
                behave(body, self.wfile.write)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def saying(status: int, body: bytes, *headers: str) -> Behave:
    """Always the same answer."""
    head = "\r\n".join([f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}", *headers, "", ""])

    def behave(_body: bytes, send: Callable[[bytes], object]) -> None:
        send(head.encode() + body)

    return behave


def hanging(_body: bytes, _send: Callable[[bytes], object]) -> None:
    """No answer."""
    NEVER.wait(30)


def dripping(_body: bytes, send: Callable[[bytes], object]) -> None:
    """A byte now and then, in headers that never end: no single wait is long."""
    send(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(300):
        send(b"x")
        NEVER.wait(0.1)


def endless(_body: bytes, send: Callable[[bytes], object]) -> None:
    """A hundred megabytes."""
    send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    for _ in range(1000):
        send(b"\xe2\x80\x94" * 33_333)


def smtp(_body: bytes, send: Callable[[bytes], object]) -> None:
    """Another protocol."""
    send(b"220 ready\r\n\r\n")


def closing(_body: bytes, _send: Callable[[bytes], object]) -> None:
    """The connection is closed."""
