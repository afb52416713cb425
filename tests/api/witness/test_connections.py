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
from api.witness.connections import KEEP_ALIVE_S, Bounded, make_config
from api.witness.state import FileState, make_file
from api.witness.witness import Witness
from ledger.proof.tlog.cosignature import WitnessSigningKey
from ledger.proof.tlog.note import SigningKey
from tests.support import eventually

ASK = b"GET /healthz HTTP/1.1\r\nHost: w\r\n\r\n"
POST = b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 9\r\n"
MOST = 8


LONG_S = 3600.0


class HeadSoon(Bounded):
    """A short time for a head, and none for an answer that a test could wait for."""

    head_s = 0.3
    answer_s = LONG_S


class AnswerSoon(Bounded):
    """A short time for an answer, and none for a head that a test could wait for."""

    head_s = LONG_S
    answer_s = 0.3


class Patient(Bounded):
    """Times that do not come."""

    head_s = LONG_S
    answer_s = LONG_S


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


def ended(conn: socket.socket, drip: bytes) -> bool:
    """Send `drip`, and return True if the other side has closed the connection."""
    conn.settimeout(0.05)
    try:
        conn.sendall(drip)
        return not conn.recv(10_000)
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    ("port", "first", "drip"),
    [
        (HeadSoon, b"", b""),
        (HeadSoon, ASK[:-2], b"X: y\r\n"),
        (HeadSoon, ASK, b""),
        (HeadSoon, ASK + ASK[:9], b"x"),
        (AnswerSoon, POST + b"\r\n", b""),
    ],
    ids=["silent", "an endless head", "idle after an answer", "the next head", "an endless body"],
    indirect=["port"],
)
def test_a_connection_without_a_whole_request_is_closed(port: int, first: bytes, drip: bytes) -> None:
    """It is closed after the time for a head or an answer, whatever drips, and not before."""
    with connected(port) as conn:
        begun = time.monotonic()
        conn.sendall(first)
        eventually("the connection is closed", lambda: ended(conn, drip), within_s=KEEP_ALIVE_S - 1)
        assert time.monotonic() - begun > 0.2
    assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


@pytest.mark.parametrize("port", [HeadSoon], indirect=True)
def test_a_caller_that_asks_is_not_cut_off(port: int) -> None:
    """A connection lives longer than the time for a head while requests come, pipelined ones too."""
    with connected(port) as conn:
        begun = time.monotonic()
        while time.monotonic() - begun <= 2 * HeadSoon.head_s:
            conn.sendall(ASK + ASK)
            found = b""
            while found.count(b"ok\n") < 2:
                piece = conn.recv(10_000)
                assert piece, found
                found += piece


@pytest.mark.parametrize("port", [Patient], indirect=True)
def test_idle_connections_lock_nobody_out(port: int) -> None:
    """Beyond the most, the one that has waited longest goes, long before its time; a request in hand stays."""
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(connected(port))
        busy.sendall(POST + b"Expect: 100-continue\r\n\r\n")
        assert busy.recv(1000).startswith(b"HTTP/1.1 100 ")
        idle = [stack.enter_context(connected(port)) for _ in range(3 * MOST)]
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        assert idle[0].recv(1) == b""
        busy.sendall(b"no check\n")
        assert busy.recv(1000).startswith(b"HTTP/1.1 400 ")
        idle[-1].sendall(ASK)
        assert idle[-1].recv(1000).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("port", [Bounded], indirect=True)
def test_a_request_beyond_the_most_is_answered_503(port: int) -> None:
    """Where every connection has a request in hand, one more is answered 503."""
    with contextlib.ExitStack() as stack:
        for _ in range(MOST):
            conn = stack.enter_context(connected(port))
            conn.sendall(POST + b"Expect: 100-continue\r\n\r\n")
            assert conn.recv(1000).startswith((b"HTTP/1.1 100 ", b"HTTP/1.1 503 "))
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 503
