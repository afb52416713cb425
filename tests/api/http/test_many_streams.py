"""Many followers cost the writers nothing, and share no rights; streams with an end in time end."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import pytest

from api.event_feed import Follower
from api.http.event_stream import EventStream
from api.services import services_of
from ledger.database import Connection
from ledger.store.envelope import NewEvent, uuid7
from schema.events import PortfolioRequested, SubjectRoleGranted
from tests.api.following import followed, stream, until
from tests.api.http.test_imported_events import ANN, imported
from tests.api.served import PATIENCE_S, Api
from tests.subjects import record, subject, subjects
from tests.support import append, connect, eventually

ASKED = PortfolioRequested(client_id="client-1", risk_profile="balanced", amount_usd="1000")
STREAMS, EVENTS = 40, 300
# The followers' tenth, and what else the loop does meanwhile.
MOST_SHARE = 0.2


def request() -> NewEvent:
    """A request for a client."""
    return NewEvent(uuid7(), "request-", ASKED, ANN, "no_stream")


def test_followers_take_a_bounded_share_of_the_event_loop(api: Api) -> None:
    """Forty streams with filters of their own get three hundred events at once: the loop has time for others meanwhile.

    Measured as the processor time of the thread that answers, from the events to the last message of the last stream.
    """
    feed = services_of(api.app).event_feed
    tokens = list(subjects(api.url, {f"many-{number}": "compliance" for number in range(STREAMS // 20)}).values())
    head, _ = api.head()
    thread = [each for each in threading.enumerate() if each.name == "uvicorn"][-1]
    loop = time.pthread_getcpuclockid(thread.ident or 0)
    with contextlib.ExitStack() as stack, connect(api.url) as conn:
        streams = [
            stack.enter_context(
                raw_stream(api, tokens[number // 20], f"amount_from={number + 1}&position_from={head + 1}")
            )
            for number in range(STREAMS)
        ]
        for each in streams:
            read_until(each, b"event: caught-up")
        before_s, began_s = time.clock_gettime(loop), time.monotonic()
        last = append(conn, *(request() for _ in range(EVENTS)))[-1].position
        for each in streams:
            assert read_until(each, b"id: %d\n" % last).count(b"\ndata: {") >= EVENTS
        share = (time.clock_gettime(loop) - before_s) / (time.monotonic() - began_s)
    assert share <= MOST_SHARE
    eventually("the streams are closed", lambda: feed.followers == 0)


@contextlib.contextmanager
def raw_stream(api: Api, token: str, query: str) -> Iterator[socket.socket]:
    """Open a stream without a client in between, which would take much of the processor itself."""
    where = urlsplit(api.base)
    with socket.create_connection((where.hostname, where.port), timeout=60) as conn:
        head = f"GET /events/stream?{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        conn.sendall(head.encode())
        yield conn


def read_until(conn: socket.socket, wanted: bytes) -> bytes:
    """Read up to a message with these bytes."""
    found = b""
    while wanted not in found or not found.endswith(b"\n\n\r\n"):
        received = conn.recv(1 << 20)
        assert received, f"the stream ended: {found[-200:]!r}"
        found += received
    return found


def test_a_stream_ends_when_its_time_is_over(api: Api) -> None:
    """Without an event after it, by the database's clock: at once if it has passed, else when it does."""
    with connect(api.url) as conn:
        append(conn, request())
        past, soon = now(conn), now(conn) + timedelta(seconds=1)
    for end in (past, soon):
        names = [message.name for message in followed(api, to=end.isoformat(), type="portfolio.requested")]
        assert names[-2:] == ["caught-up", "end"]
        assert "message" in names


def test_a_stream_of_the_past_ends_also_with_imported_events(api: Api) -> None:
    """It has those that were imported before; what is imported later is not waited for."""
    with connect(api.url) as conn:
        [old] = append(conn, imported("request-", ASKED, "2001-02-03T12:00:00Z"))
        append(conn, request())
        found = followed(api, to="2001-12-31", type="portfolio.requested")
    assert [message.id for message in found if message.name == "message"] == [old.position]
    assert [message.name for message in found[-2:]] == ["caught-up", "end"]


def test_a_stream_waits_for_appends_that_began_before_its_end(api: Api) -> None:
    """The time of an event is that of its append, which may be committed after the end of the window."""
    with contextlib.ExitStack() as following:
        with connect(api.url) as conn, conn.transaction():
            [receipt] = append(conn, request())
            open_ = stream(api, to=now(conn).isoformat(), position_from=receipt.position)
            _, messages = following.enter_context(open_)
            until(messages, "caught-up")
        assert [message.id for message in messages if message.name == "message"] == [receipt.position]


def now(conn: Connection) -> datetime:
    """The database's clock."""
    [(found,)] = conn.execute("SELECT clock_timestamp()").fetchall()
    assert isinstance(found, datetime)
    return found


def test_a_follower_with_a_new_grant_shows_its_client_to_no_other(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who were alike read on together. Then one of them may know of a client, and the other still may not."""
    granted = threading.Event()
    look = EventStream._look_at_rights

    async def looks(answer: EventStream, follower: Follower) -> None:
        await look(answer, follower)
        if answer._reader.actor.id == "vera" and answer._reader.examined is not None:
            granted.set()

    monkeypatch.setattr(EventStream, "_look_at_rights", looks)
    api.asked(client_id="client-examined")
    [client] = api.items("/clients", client_id="client-examined")
    for name in ("vera", "vito"):
        api.tokens[name] = subject(api.url, name, "auditor")
    with (
        stream(api, "vera", type="portfolio.requested") as (_, hers),
        stream(api, "vito", type="portfolio.requested") as (_, his),
    ):
        until(hers, "caught-up")
        until(his, "caught-up")
        api.asked(client_id="client-of-others")
        assert [until(each, "message").data["client_id"] for each in (hers, his)] == [None, None]
        grant = SubjectRoleGranted(role="examiner", until="2100-01-01T00:00:00Z", clients=[client["id"]])
        record(api.url, "vera", grant)
        assert granted.wait(PATIENCE_S)
        api.asked(client_id="client-examined")
        assert [until(each, "message").data["client_id"] for each in (hers, his)] == ["client-examined", None]
