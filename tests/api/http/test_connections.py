"""Callers that open connections and say nothing, or say it slowly: others are served meanwhile."""

from __future__ import annotations

import json
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

import httpx
import pytest

from api.app import create_app
from api.http import body_limit
from api.http import connections as bounds
from api.http.connections import Connections
from api.services import Parts
from tests.api.program import serving
from tests.api.served import ASK, ASKS, Api, listening
from tests.support import connect, eventually

# Parameter: the name of the application.
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name = %s
"""
READER, WRITER = ["advice-ledger reader"], ["advice-ledger writer"]
# Less than a server waits for the rest of a head (HEAD_S), so a caller who is locked out meanwhile notices.
PATIENT_S = 8
HALF = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: "
WHOLE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def opened(base: str, *said: bytes) -> Iterator[list[socket.socket]]:
    """Connections, each of which has said this."""
    host, _, port = base.removeprefix("http://").partition(":")
    with ExitStack() as stack:
        made = []
        for words in said:
            conn = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
            conn.sendall(words)
            made.append(conn)
        yield made


def is_closed(conn: socket.socket) -> bool:
    """Tell whether the server closed it; wait at most as long as the socket's timeout."""
    try:
        return conn.recv(1) == b""
    except ConnectionError:
        return True


def test_a_read_ends_when_its_caller_goes(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Its query ends too, while what it waits for still lasts. A write goes on, and is recorded."""
    request_id = api.asked()
    # The projector has taken it, so the table that is locked below holds up nothing that a write needs.
    assert api.get(f"/portfolio/requests/{request_id}").status_code == 200
    head = f"Host: x\r\nAuthorization: Bearer {api.tokens['advisor']}\r\n"
    read = f"GET /portfolio/requests?consistency=eventual HTTP/1.1\r\n{head}\r\n".encode()
    body = json.dumps({**ASK, "notes": "gone"})
    write = f"POST {ASKS} HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    with connect(api.url) as watching, connect(api.url) as holding, holding.transaction():
        holding.execute("LOCK TABLE portfolio_requests IN ACCESS EXCLUSIVE MODE")
        with opened(api.base, *[read] * 5):
            eventually("the reads wait", lambda: watching.execute(WAITING, READER).fetchone() == (5,))
        eventually("the reads have ended", lambda: watching.execute(WAITING, READER).fetchone() == (0,))
        before = api.commands()
        with connect(api.url) as first, first.transaction():
            first.execute("SELECT FROM head FOR UPDATE")
            with opened(api.base, write.encode()):
                eventually("the write waits", lambda: watching.execute(WAITING, WRITER).fetchone() == (1,))
        eventually("the write is recorded", lambda: api.commands() == before + 1)
    assert "ASGI" not in caplog.text


@pytest.fixture
def bounded(api: Api) -> Iterator[str]:
    """The address of a second server of the same ledger, with three connections and short deadlines."""
    app = create_app(Parts(api.url, run_worker=False, projector="none"))
    with listening(app, Connections(3, head_s=0.3, read_s=0.3)) as base:
        yield base


@pytest.mark.parametrize("said", [b"", b"GET", HALF, WHOLE + HALF], ids=["nothing", "a word", "half", "one and a half"])
def test_a_head_has_a_deadline(bounded: str, said: bytes) -> None:
    """A connection whose head does not come is closed, the first as well as the next."""
    with opened(bounded, said) as [conn]:
        eventually("the connection is closed", lambda: is_closed(conn))


def test_the_one_that_waited_longest_makes_room(api: Api) -> None:
    """Over the bound, the oldest connection without a request is closed; newer ones and requests go on."""
    app = create_app(Parts(api.url, run_worker=False, projector="none"))
    with listening(app, Connections(3)) as base, opened(base, HALF, HALF) as [oldest, newer]:
        assert httpx.get(f"{base}/healthz").status_code == 200
        with opened(base, HALF, HALF):
            assert is_closed(oldest)
            assert httpx.get(f"{base}/healthz", timeout=10).status_code == 200
            assert is_closed(newer)


def half_body(api_token: str) -> bytes:
    """The head of a write by this token, and the first byte of its body."""
    return (
        f"POST {ASKS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api_token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    ).encode()


def test_half_a_body_makes_room_too(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """A caller with a token that sends half of its requests locks nobody out."""
    app = create_app(Parts(api.url, run_worker=False, projector="none"))
    half = half_body(api.tokens["advisor"])
    with listening(app, Connections(3)) as base, opened(base, half, half) as [oldest, newer], api.records_nothing():
        assert httpx.get(f"{base}/healthz", timeout=10).status_code == 200
        with opened(base, half):
            assert httpx.get(f"{base}/healthz", timeout=10).status_code == 200
            assert is_closed(oldest)
            with opened(base, half):
                assert httpx.get(f"{base}/healthz", timeout=10).status_code == 200
                assert is_closed(newer)
    assert "ASGI" not in caplog.text


def test_a_body_has_a_deadline(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not come whole is a 408, and the connection ends."""
    monkeypatch.setattr(body_limit, "BODY_S", 0.3)
    with api.records_nothing(), opened(api.base, half_body(api.tokens["advisor"])) as [conn]:
        answer = b"".join(iter(lambda: conn.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"/problems/too-slow" in answer


def test_a_caller_that_does_not_read_is_cut_off(bounded: str) -> None:
    """Answers that nobody takes do not stay in memory."""
    with opened(bounded, b"") as [conn]:
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        asked = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"

        def refused() -> bool:
            try:
                conn.sendall(asked * 100)
            except (ConnectionError, TimeoutError):
                return True
            return False

        eventually("the connection is closed", refused)


def test_a_head_that_does_not_end_is_refused(api: Api) -> None:
    """A head is taken up to a length, and one that goes on is refused."""
    long = {"X-Long": "x" * (bounds.MAX_HEAD_BYTES - 1000)}
    with opened(api.base, HALF) as [conn]:
        assert api.call("GET", "/healthz", headers=long).status_code == 200
        conn.sendall(b"x" * bounds.MAX_HEAD_BYTES)
        assert conn.recv(1000).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(("limit", "most"), [(1024, 768), (64, 32), (10**6, 10_000), (resource.RLIM_INFINITY, 10_000)])
def test_the_bound_follows_the_limit_of_open_files(monkeypatch: pytest.MonkeyPatch, limit: int, most: int) -> None:
    """Descriptors are left for the database and files."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert bounds.affordable() == most


@pytest.mark.parametrize(("descriptors", "half_sent"), [(1_024, 1_100), (64, 80)])
@pytest.mark.parametrize("half", ["head", "body"])
def test_half_sent_requests_lock_nobody_out(database_url: str, descriptors: int, half_sent: int, half: str) -> None:
    """With more half-sent requests than the process has descriptors, writes and reads are served, most within 1 s.

    The half-sent requests stay open for longer than the timeout. On a busy machine single ones may take longer.
    """
    before = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({descriptors}, {descriptors}))"
    with serving("--database-url", database_url, "--no-worker", before=before) as server:
        token = {"Authorization": f"Bearer {server.tokens()['advisor']}"}
        said = HALF if half == "head" else half_body(server.tokens()["advisor"])
        with (
            opened(server.base, *[said] * half_sent),
            httpx.Client(base_url=server.base, headers=token, timeout=PATIENT_S) as other,
        ):
            seconds = []
            for _ in range(20):
                asked = other.post(ASKS, json=ASK)
                assert asked.status_code == 202
                path = f"{server.base}/portfolio/requests/{asked.json()['request_id']}"
                # On a connection of its own.
                shown = httpx.get(path, headers=token, timeout=PATIENT_S)
                assert shown.status_code == 200
                seconds += [asked.elapsed.total_seconds(), shown.elapsed.total_seconds()]
            assert median(seconds) < 1
        assert server.err.count("connections are open") == 1
