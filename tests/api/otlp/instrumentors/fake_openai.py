"""A stand-in for a model's vendor: an OpenAI-compatible endpoint that answers each question in the same way."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

MODEL, MODEL_GIVEN, BROKEN = "gpt-5", "gpt-5-2025-08-07", "gpt-broken"
ANSWER = "SECRET hold the bonds"
FAULT = "SECRET too many questions of Jane Doe"
TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "price", "arguments": '{"symbol": "ABC"}'}}
COMMON = {"id": "chatcmpl-1", "created": 1700000000, "model": MODEL_GIVEN, "service_tier": "default"}
USAGE = {
    "prompt_tokens": 21,
    "completion_tokens": 7,
    "total_tokens": 28,
    "prompt_tokens_details": {"cached_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
EMBEDDING = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}],
    "usage": {"prompt_tokens": 4, "total_tokens": 4},
}


def answer(path: str, asked: dict[str, Any]) -> tuple[int, str, bytes]:
    """Return status, type and body of the answer to a request."""
    if path.endswith("/embeddings"):
        return 200, "application/json", orjson.dumps(EMBEDDING)
    if asked.get("model") == BROKEN:
        fault = {"error": {"message": FAULT, "type": "rate_limit", "code": "rate_limit_exceeded"}}
        return 429, "application/json", orjson.dumps(fault)
    if asked.get("stream"):
        return 200, "text/event-stream", _stream()
    calls_tool = bool(asked.get("tools")) and asked["messages"][-1]["role"] != "tool"
    said = {"content": None, "tool_calls": [TOOL_CALL]} if calls_tool else {"content": ANSWER}
    choice = {
        "index": 0,
        "message": {"role": "assistant", **said},
        "finish_reason": "tool_calls" if calls_tool else "stop",
        "logprobs": None,
    }
    return (
        200,
        "application/json",
        orjson.dumps({**COMMON, "object": "chat.completion", "choices": [choice], "usage": USAGE}),
    )


def _stream() -> bytes:
    deltas: list[tuple[dict[str, str], str | None]] = [
        ({"role": "assistant", "content": "SECRET hold "}, None),
        ({"content": "the bonds"}, None),
        ({}, "stop"),
    ]
    choices = [[{"index": 0, "delta": delta, "finish_reason": reason}] for delta, reason in deltas]
    chunks: list[dict[str, Any]] = [
        *({**COMMON, "object": "chat.completion.chunk", "choices": choice} for choice in choices),
        {**COMMON, "object": "chat.completion.chunk", "choices": [], "usage": USAGE},
    ]
    return b"".join(b"data: %b\n\n" % orjson.dumps(chunk) for chunk in chunks) + b"data: [DONE]\n\n"


class Handler(BaseHTTPRequestHandler):
    """Answer POST requests by `answer()`."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer one request."""
        status, kind, content = self.answer(self._body())
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def answer(self, body: bytes) -> tuple[int, str, bytes]:
        """Return status, type and body of the answer."""
        return answer(self.path, orjson.loads(body))

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


@contextlib.contextmanager
def listening(handler: type[Handler] = Handler) -> Iterator[str]:
    """Serve in a thread while the block runs; yield the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
