"""A receiver of messages for tests: it answers as a script says, and keeps what it received."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

END = b"\r\n\r\n"


@dataclass(frozen=True)
class Received:
    """A request: its path, its headers with names in lower case, its body."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came in. `answers` are given in turn, the last one again and again.

    An answer is a status, with further headers behind it; or "reset" or "silence", after the request was read.
    """

    url: str
    answers: list[str] = field(default_factory=lambda: ["200"])
    received: list[Received] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def answer(self, connection: socket.socket) -> None:
        """Read one request, and answer it."""
        with connection:
            connection.settimeout(20)
            data = b""
            while END not in data:
                data += _received(connection)
            head, _, body = data.partition(END)
            first, *lines = head.decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            while len(body) < int(headers.get("content-length", "0")):
                body += _received(connection)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            self.received.append(Received(first.split()[1], headers, body))
            if answer == "silence":
                self.stopping.wait(20)
            elif answer == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            else:
                status, *more = answer.split("\n")
                text = "\r\n".join([f"HTTP/1.1 {status} X", *more, "Connection: close", "Content-Length: 0"])
                connection.sendall(text.encode() + END)


def _received(connection: socket.socket) -> bytes:
    """Return what has come in. Raises OSError at the end."""
    found = connection.recv(65536)
    if not found:
        raise ConnectionError("the sender has gone")
    return found


@contextlib.contextmanager
def receiving(*answers: str, tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[Receiver]:
    """Listen on a port of this machine, or on a free one, while the block runs."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        receiver = Receiver(f"http://127.0.0.1:{listener.getsockname()[1]}/in", list(answers) or ["200"])

        def accept() -> None:
            while not receiver.stopping.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    threading.Thread(target=serve, args=[connection], daemon=True).start()

        def serve(connection: socket.socket) -> None:
            with contextlib.suppress(OSError, IndexError):
                receiver.answer(connection if tls is None else tls.wrap_socket(connection, server_side=True))

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.stopping.set()
            with contextlib.suppress(OSError):
                socket.create_connection(listener.getsockname(), 5).close()
            thread.join(10)
