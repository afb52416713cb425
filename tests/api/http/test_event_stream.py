"""The stream of events: no gap and no double over reconnects, rights while it lasts, bounds, and its end."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from api import event_feed
from api.app import create_app
from api.http import event_stream
from api.http.connections import Connections
from api.services import Parts, services_of
from schema.events import SubjectRoleGranted, SubjectRoleRevoked, SubjectSuspended
from tests.api.following import Message, followed, stream, until
from tests.api.served import PATIENCE_S, Api, fields, ledger_copy, listening, problem, served
from tests.conftest import Template
from tests.subjects import record, revoke, subject, subjects
from tests.support import eventually

FILTERS: list[dict[str, Any]] = [
    {},
    {"type": "portfolio.requested"},
    {"actor": "advisor"},
    {"client_id": "client-1"},
    {"amount_from": "300000"},
    {"text": "prudent"},
    {"actor": "nobody"},
]


def listed(api: Api, upto: int, **query: Any) -> list[dict[str, Any]]:
    """All events that a search finds up to a position, the oldest first."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = api.get("/events", **query, **cursor, as_of=upto, order="oldest", limit=200).json()
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


def write(api: Api, count: int) -> None:
    """Record requests of two clients with two amounts."""
    for number in range(count):
        amount = "250000.00" if number % 3 else "400000.00"
        api.asked(client_id=f"client-{number % 2}", amount_usd=amount, notes="prudent" if number % 2 else "bold")


def test_what_a_follower_gets_over_reconnects_is_what_the_search_finds(api: Api) -> None:
    """Whatever the filter, and wherever the follower goes away: each event once, in order, while others write."""
    write(api, 4)

    @settings(max_examples=6, deadline=None, phases=[Phase.generate])
    @given(st.sampled_from(FILTERS), st.lists(st.integers(0, 5), max_size=4), st.integers(1, 4))
    def check(filters: dict[str, Any], cuts: list[int], count: int) -> None:
        found: list[Message] = []
        last: int | None = None
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write, api, count)
            for cut in cuts:
                with stream(api, last=last, **filters) as (_, messages):
                    for message in messages:
                        last = message.id if message.id is not None else last
                        found += [message] if message.name == "message" else []
                        if message.name == "caught-up" or len(found) > cut:
                            break
            writing.result()
        head, _ = api.head()
        found += [each for each in followed(api, last=last, **filters, position_to=head) if each.name == "message"]
        wanted = listed(api, head, **filters)
        assert [message.id for message in found] == [item["position"] for item in wanted]
        assert [message.data for message in found] == wanted

    check()


def test_new_events_arrive_after_caught_up(api: Api) -> None:
    """`caught-up` names the position up to which all is sent; what is recorded later follows by itself."""
    head, _ = api.head()
    with stream(api, position_from=head + 1, type="portfolio.requested") as (response, messages):
        assert response.headers["content-type"].startswith("text/event-stream")
        assert until(messages, "caught-up").data["position"] >= head
        request = api.asked()
        message = until(messages, "message")
    assert (message.data["type"], message.data["request_id"]) == ("portfolio.requested", request)
    assert message.id == message.data["position"]


def test_a_stream_with_an_end_ends(api: Api) -> None:
    """With `position_to`, `as_of` or a day that is over, `end` is the last message; without events too."""
    api.asked()
    head, _ = api.head()
    queries: list[dict[str, Any]] = [{"position_to": 2}, {"as_of": 2}, {"as_of": head}, {"position_to": head}]
    for query in queries:
        messages = followed(api, **query)
        end = next(iter(query.values()))
        assert [message.id for message in messages if message.name == "message"] == list(range(1, end + 1))
        assert [message.name for message in messages[-2:]] == ["caught-up", "end"]
    assert [message.name for message in followed(api, to="2001-01-01")] == ["caught-up", "end"]
    assert [message.name for message in followed(api, last=head, position_to=head)] == ["caught-up", "end"]


def test_what_is_not_valid_is_refused_before_the_stream_begins(api: Api) -> None:
    """With the status and the name of the parameter or header."""
    for last in (2**52, -1):
        with stream(api, last=last) as (response, _):
            assert fields(problem(response, 422, "invalid"))[0].lower() == "last-event-id"
    problem(api.get("/events/stream", cursor="x"), 422, "invalid")
    problem(api.get("/events/stream", format="xml"), 422, "invalid")
    problem(api.get("/events/stream", client_id="nobody"), 404, "client-unknown")
    problem(api.get("/events/stream", "advisor"), 403, "wrong-role")
    answer = api.call("GET", "/events/stream", "compliance", headers={"Accept": "application/json"})
    problem(answer, 406, "not-acceptable")


def test_head_has_the_headers_and_ends(api: Api) -> None:
    """HEAD is answered at once."""
    answer = api.call("HEAD", "/events/stream", "compliance")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_a_stream_ends_when_the_token_is_revoked(api: Api) -> None:
    """An idle stream too, with the problem that the next request would get."""
    api.tokens["leaver"] = subject(api.url, "leaver", "compliance")
    with stream(api, "leaver", position_from=10**9) as (_, messages):
        until(messages, "caught-up")
        revoke(api.url, "leaver")
        assert until(messages, "problem").data["type"] == "/problems/unknown-token"
        assert list(messages) == []


def test_a_stream_ends_when_the_subject_is_suspended_or_loses_the_role(api: Api) -> None:
    """As the token, and the refusal is recorded as others are."""
    for name, event, slug in (
        ("halted", SubjectSuspended(reason="left"), "suspended"),
        ("former", SubjectRoleRevoked(role="compliance"), "wrong-role"),
    ):
        api.tokens[name] = subject(api.url, name, "compliance")
        with stream(api, name, position_from=10**9) as (_, messages):
            until(messages, "caught-up")
            record(api.url, name, event)
            assert until(messages, "problem").data["type"] == f"/problems/{slug}"
        [refused] = api.items("/access", subject=name, action="refused")
        assert (refused["resource"], refused["reason"]) == ("GET /events/stream", slug)


def test_an_examiner_that_loses_a_client_is_shown_no_more_of_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the grant lasts, events name the client; afterwards they do not, and a stream of the client ends."""
    monkeypatch.setattr(event_stream, "SAME_RIGHTS_S", 0.0)
    for client_id in ("client-examined", "client-of-others"):
        api.asked(client_id=client_id)
    [client] = api.items("/clients", client_id="client-examined")
    api.tokens["vera"] = subject(api.url, "vera", "auditor")
    record(api.url, "vera", SubjectRoleGranted(role="examiner", until="2100-01-01T00:00:00Z", clients=[client["id"]]))
    eventually("the grant counts", lambda: len(api.call("GET", "/me", "vera").json()["roles"]) == 2)
    with (
        stream(api, "vera", type="portfolio.requested") as (_, all_),
        stream(api, "vera", client=client["id"]) as (_, one),
    ):
        assert {each.data["client_id"] for each in until_caught_up(all_)} == {None, "client-examined"}
        assert {each.data["client_id"] for each in until_caught_up(one)} == {"client-examined"}
        record(api.url, "vera", SubjectRoleRevoked(role="examiner"))
        api.asked(client_id="client-examined")
        eventually("the revocation counts", lambda: len(api.call("GET", "/me", "vera").json()["roles"]) == 1)
        request = api.asked(client_id="client-examined")
        shown = next(each for each in all_ if each.name == "message" and each.data["request_id"] == request)
        assert shown.data["client_id"] is None
        assert until(one, "problem").data["type"] == "/problems/client-unknown"


def until_caught_up(messages: Iterator[Message]) -> list[Message]:
    """The messages before the follower has caught up."""
    found = []
    for message in messages:
        if message.name == "caught-up":
            break
        found.append(message)
    return found


def test_who_follows_is_on_record(api: Api) -> None:
    """Each request that is shown, also later on, once a minute; the names of filters, no value."""
    api.asked(client_id="client-1")
    api.tokens["watcher"] = subject(api.url, "watcher", "compliance")
    with stream(api, "watcher", type="portfolio.requested", client_id="client-1") as (_, messages):
        until(messages, "caught-up")
        request = api.asked(client_id="client-1")
        assert until(messages, "message").data["request_id"] == request
        rows = api.items("/access", subject="watcher", limit=200)
    assert {row["resource"] for row in rows} == {"GET /events/stream"}
    assert {tuple(row["parameters"]) for row in rows} == {("client_id", "type")}
    assert request in {number for row in rows for number in row["requests"] or ()}


def test_heartbeats_keep_a_quiet_stream_open(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment, whose id moves the follower over events that do not match."""
    monkeypatch.setattr(event_feed, "HEARTBEAT_S", 0.05)
    with stream(api, role="nobody") as (_, messages):
        caught_up = until(messages, "caught-up")
        api.asked()
        head, _ = api.head()
        beat = next(message for message in messages if message.name == "comment" and (message.id or 0) >= head)
    assert (beat.data, caught_up.id) == ("heartbeat", caught_up.data["position"])


def test_streams_of_one_caller_and_of_all_are_bounded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one of the caller is a 429, of all a 503, both with Retry-After; those that are closed make room."""
    monkeypatch.setattr(event_feed, "MOST_OF_ONE", 2)
    monkeypatch.setattr(event_feed, "MOST_OF_ALL", 3)
    eventually("no stream is open", lambda: api.app.state.services.event_feed.followers == 0)
    api.tokens |= subjects(api.url, {"one": "compliance", "two": "compliance", "three": "auditor"})
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(stream(api, who, position_from=10**9)) for who in ("one", "one", "two")]
        for _, messages in streams:
            until(messages, "caught-up")
        for who, status, slug in (("one", 429, "too-many-streams"), ("three", 503, "unavailable")):
            answer = api.get("/events/stream", who)
            problem(answer, status, slug)
            assert int(answer.headers["retry-after"]) > 0
    eventually("there is room again", lambda: api.get("/events/stream", "one", position_to=1).status_code == 200)


def test_a_server_that_stops_ends_its_streams(server_url: str, template_database: Template) -> None:
    """At once, and without `end`: the follower comes back. The server would wait for an answer that goes on."""
    with contextlib.ExitStack() as follower, ledger_copy(server_url, template_database) as url:
        with served(url) as api:
            _, messages = follower.enter_context(stream(api, position_from=10**9))
            until(messages, "caught-up")
        assert [message for message in messages if message.name != "comment"] == []


def test_many_followers_get_all_in_order(api: Api) -> None:
    """Forty at once, some with the same filter, while events arrive: each has what the search finds."""
    names = {f"follower-{number}": "compliance" for number in range(4)}
    api.tokens |= subjects(api.url, names)
    start, _ = api.head()

    def follow(number: int) -> list[int | None]:
        who, query = f"follower-{number % 4}", {"type": "portfolio.requested"} if number % 2 else {"actor": "advisor"}
        with stream(api, who, last=start, **query) as (_, messages):
            found = []
            for message in messages:
                found += [message.id] if message.name == "message" else []
                if len(found) == 6:
                    break
            return found

    with ThreadPoolExecutor(40) as pool:
        following = [pool.submit(follow, number) for number in range(40)]
        write(api, 6)
        results = [each.result() for each in following]
    head, _ = api.head()
    for number, found in enumerate(results):
        query = {"type": "portfolio.requested"} if number % 2 else {"actor": "advisor"}
        assert found == [item["position"] for item in listed(api, head, **query) if item["position"] > start][:6]


def test_followers_with_the_same_filters_share_one_tail(api: Api) -> None:
    """Eight streams and two filters are two tails, also for other subjects; without followers there is none."""
    api.tokens |= subjects(api.url, {"sharing": "compliance"})
    feed = services_of(api.app).event_feed
    eventually("the streams of other tests are closed", lambda: feed.followers == 0)
    start, _ = api.head()
    with contextlib.ExitStack() as stack:
        streams = [
            stack.enter_context(stream(api, who, last=start, type=kind))[1]
            for who in ("compliance", "sharing", "compliance", "sharing")
            for kind in ("portfolio.requested", "request.withdrawn")
        ]
        for messages in streams:
            until(messages, "caught-up")
        eventually("all wait", lambda: (feed.followers, feed.tails) == (8, 2))
        wanted = api.asked()
        found = [until(messages, "message").data["request_id"] for messages in streams[::2]]
        assert found == [wanted] * 4
        eventually("all wait again", lambda: feed.tails == 2)
    eventually("nobody waits", lambda: feed.tails == 0)


def test_a_follower_that_takes_no_bytes_is_cut_off_and_slows_nobody(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others follow and write meanwhile; the stream of the one that does not read is closed and counted no more."""
    # More than the buffers of any kernel hold.
    monkeypatch.setattr(event_stream, "FIRST", b": " + b"x" * 2**24 + b"\n\n")
    app = create_app(Parts(api.url, run_worker=False, projector="none", patience_s=PATIENCE_S))
    with listening(app, Connections(20, read_s=0.5)) as base, deaf(base, api.tokens["compliance"]):
        feed = app.state.services.event_feed
        eventually("the stream is open", lambda: feed.followers == 1)
        with stream(api, "auditor", position_from=10**9, base=base) as (_, messages):
            until(messages, "caught-up")
            assert api.ask().status_code == 202
        eventually("both are gone", lambda: feed.followers == 0)


@contextlib.contextmanager
def deaf(base: str, token: str) -> Iterator[socket.socket]:
    """Ask for all events, and read nothing."""
    where = urlsplit(base)
    with socket.socket() as conn:
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        conn.connect((where.hostname, where.port))
        request = f"GET /events/stream?format=ocsf HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        conn.sendall(request.encode())
        yield conn
