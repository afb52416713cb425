"""The server of a witness limits the requests at once, and the bytes and the time of a head."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from api.http.connections import MAX_HEAD_BYTES, Connections
from api.http.server import server_config
from api.witness.app import make_app
from api.witness.store import WitnessStore, make_store
from api.witness.witness import Witness
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey
from tests.api.witness.logs import logs_of
from tests.support import eventually

MOST = 10
HEAD_S = 1.0
POST = b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"


@pytest.fixture
def port(tmp_path: Path, log_key: SigningKey) -> Iterator[int]:
    """The port of a witness that is served as `witness serve` does, for MOST requests at once."""
    key = WitnessSigningKey.generate("w")
    make_store(tmp_path / "state", key.verifier.text)
    with contextlib.closing(WitnessStore(tmp_path / "state", key.verifier.text)) as store, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        app = make_app(Witness(key, logs_of(log_key.verifier), store), most_requests=MOST)
        connections = Connections(head_s=HEAD_S)
        server = uvicorn.Server(server_config(app, connections=connections, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        eventually("the server", lambda: server.started)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def connected(port: int) -> socket.socket:
    """A connection on which nothing was sent."""
    return socket.create_connection(("127.0.0.1", port), timeout=3)


def test_one_request_more_than_the_bound_is_a_503(port: int) -> None:
    """With as many requests in hand as are allowed, one more is answered 503 at once; /healthz still answers."""
    with contextlib.ExitStack() as stack:
        for _ in range(MOST):
            conn = stack.enter_context(connected(port))
            conn.sendall(POST)
            assert conn.recv(1000).startswith(b"HTTP/1.1 100 ")  # it waits for the body
        refused = httpx.post(f"http://127.0.0.1:{port}/add-checkpoint")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    eventually("they are gone", lambda: httpx.post(f"http://127.0.0.1:{port}/add-checkpoint").status_code == 400)


def test_a_head_that_is_too_long_is_refused_before_it_fills_memory(port: int) -> None:
    """A head without end is refused before it fills the memory."""
    with connected(port) as conn:
        conn.sendall(b"GET /healthz HTTP/1.1\r\nX: " + b"x" * (MAX_HEAD_BYTES + 1))
        assert conn.recv(1000).startswith(b"HTTP/1.1 431 ")


def test_a_head_that_does_not_end_is_given_up(port: int) -> None:
    """A connection whose head is not there in time is closed, also if a byte comes now and then."""
    with connected(port) as conn:
        conn.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert conn.recv(1000) == b""
