"""Connections on which nothing is asked end soon, and lock nobody out. Real sockets, a real server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from api.witness.app import make_app
from api.witness.connections import HEAD_S, Bounded, make_config
from api.witness.state import FileState, make_file
from api.witness.witness import Witness
from ledger.proof.tlog.cosignature import WitnessSigningKey
from ledger.proof.tlog.note import SigningKey
from tests.support import eventually

ASK = b"GET /healthz HTTP/1.1\r\nHost: w\r\n\r\n"
POST = b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 9\r\n"
MOST = 8


class Hasty(Bounded):
    """Short times, for a test."""

    head_s = 0.3
    answer_s = 1.3


@pytest.fixture
def port(request: pytest.FixtureRequest, tmp_path: Path, log_key: SigningKey) -> Iterator[int]:
    """Where a witness listens that is served as `witness serve` does, but for the parameter and MOST."""
    key = WitnessSigningKey.generate("w")
    make_file(tmp_path / "state", key.verifier.text)
    with contextlib.closing(FileState(tmp_path / "state", key.verifier.text)) as state, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        app = make_app(Witness(key, [log_key.verifier], state))
        server = uvicorn.Server(make_config(app, grace_s=1, http=request.param, most_at_once=MOST))
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


def ended_after_s(conn: socket.socket, drip: bytes = b"") -> float:
    """How long until the other side closes, while `drip` is sent again and again; within 3 s or it fails."""
    begun = time.monotonic()
    conn.settimeout(0.05)
    while time.monotonic() - begun < 3:
        try:
            conn.sendall(drip)
            if not conn.recv(10_000):
                return time.monotonic() - begun
        except TimeoutError:
            continue
        except ConnectionError:
            return time.monotonic() - begun
    raise AssertionError("still open")


@pytest.mark.parametrize("port", [Hasty], indirect=True)
@pytest.mark.parametrize(
    ("first", "drip", "least_s"),
    [
        (b"", b"", 0.3),
        (ASK[:-2], b"X: y\r\n", 0.3),
        (ASK, b"", 0.3),
        (ASK + ASK[:9], b"x", 0.3),
        (POST + b"\r\n", b"", 1.3),
    ],
    ids=["silent", "an endless head", "idle after an answer", "the next head", "an endless body"],
)
def test_it_ends(port: int, first: bytes, drip: bytes, least_s: float) -> None:
    """After the time for a head or an answer, whatever drips, and not before."""
    with connected(port) as conn:
        conn.sendall(first)
        assert least_s - 0.1 < ended_after_s(conn, drip) < least_s + 0.9
    assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


@pytest.mark.parametrize("port", [Hasty], indirect=True)
def test_a_caller_that_asks_is_not_cut_off(port: int) -> None:
    """A connection lives longer than the time for a head while requests come, pipelined ones too."""
    with connected(port) as conn:
        for _ in range(5):
            conn.sendall(ASK + ASK)
            found = b""
            while found.count(b"ok\n") < 2:
                piece = conn.recv(10_000)
                assert piece, found
                found += piece
            time.sleep(0.12)


@pytest.mark.parametrize("port", [Bounded], indirect=True)
def test_idle_connections_lock_nobody_out(port: int) -> None:
    """Beyond the most, the one that has waited longest goes, long before its time; a request in hand stays."""
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(connected(port))
        busy.sendall(POST + b"Expect: 100-continue\r\n\r\n")
        assert busy.recv(1000).startswith(b"HTTP/1.1 100 ")
        idle = [stack.enter_context(connected(port)) for _ in range(3 * MOST)]
        begun = time.monotonic()
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        assert idle[0].recv(1) == b""
        busy.sendall(b"no check\n")
        assert busy.recv(1000).startswith(b"HTTP/1.1 400 ")
        idle[-1].sendall(ASK)
        assert idle[-1].recv(1000).startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - begun < HEAD_S / 2


@pytest.mark.parametrize("port", [Bounded], indirect=True)
def test_more_requests_than_may_be(port: int) -> None:
    """Where every connection has a request in hand, one more is answered 503."""
    with contextlib.ExitStack() as stack:
        for _ in range(MOST):
            conn = stack.enter_context(connected(port))
            conn.sendall(POST + b"Expect: 100-continue\r\n\r\n")
            assert conn.recv(1000).startswith((b"HTTP/1.1 100 ", b"HTTP/1.1 503 "))
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 503
