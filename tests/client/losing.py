"""A relay that loses answers between a client and a server."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

# A close that sends RST at once: what a killed server leaves.
ABRUPTLY = struct.pack("ii", 1, 0)


class Relay(ThreadingHTTPServer):
    """Passes requests on to `target`. Closes the next `answers_to_lose` connections after the server has answered."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.target = target
        self.answers_to_lose = 0
        self.lost: list[int] = []
        self.seen: list[tuple[str, str, bytes]] = []
        self.base = f"http://127.0.0.1:{self.server_port}"


class Passing(BaseHTTPRequestHandler):
    server: Relay
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, self.headers.get("Idempotency-Key", ""), body))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        answer = httpx.request(self.command, self.server.target + self.path, headers=headers, content=body, timeout=30)
        if self.server.answers_to_lose:
            self.server.answers_to_lose -= 1
            self.server.lost.append(answer.status_code)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABRUPTLY)
            self.close_connection = True
            return
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in {"content-encoding", "transfer-encoding", "date", "server"}:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@contextlib.contextmanager
def relaying(target: str) -> Iterator[Relay]:
    """Run a relay in front of `target`."""
    relay = Relay(target)
    thread = threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay.shutdown()
        relay.server_close()
