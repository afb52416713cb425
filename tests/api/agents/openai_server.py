"""A server with the OpenAI chat API and scripted answers, on a free port."""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """An answer. `pause_s` passes before it, and, if it trickles, after each byte."""

    status: int = 200
    body: bytes = b""
    pause_s: float = 0.0
    trickle: bool = False
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Received:
    """One received request; header names are in lower case."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Server:
    """The next answer, and the requests so far."""

    url: str
    reply: Reply = field(default_factory=Reply)
    received: list[Received] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def says(self, text: str, **choice: Any) -> None:
        """Answer with this text from now on; `choice` overrides members of the choice."""
        message = {"role": "assistant", "content": text} | choice.pop("message", {})
        completion = {
            "id": "chatcmpl-17",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "test-model-2026-01-01",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message} | choice],
            "usage": {"prompt_tokens": 321, "completion_tokens": 45, "total_tokens": 366},
        }
        self.sends(completion)

    def sends(self, body: object, status: int = 200, **reply: Any) -> None:
        """Answer with this JSON from now on."""
        self.reply = Reply(status, json.dumps(body).encode(), **reply)


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Run the server during the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            headers = {name.lower(): value for name, value in self.headers.items()}
            server.received.append(Received(self.path, headers, body))
            reply = server.reply
            server.closing.wait(reply.pause_s)
            with contextlib.suppress(ConnectionError):  # whoever asked has given up
                self._send(reply)

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in ({"Content-Type": "application/json"} | reply.headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            step = 1 if reply.trickle else len(reply.body) or 1
            for start in range(0, len(reply.body), step):
                self.wfile.write(reply.body[start : start + step])
                self.wfile.flush()
                if reply.trickle and server.closing.wait(reply.pause_s):
                    return

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        server = Server(f"http://127.0.0.1:{http.server_address[1]}/v1")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            http.shutdown()
            thread.join()
