"""Retries, limits and errors of both clients."""

from __future__ import annotations

import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from advice_ledger_client import (
    AsyncLedgerClient,
    LedgerClient,
    LedgerProblem,
    NotCanonical,
    NotYet,
    Receipt,
    RequestFailed,
    Unreachable,
    async_client,
    client,
    sender,
)

from tests.client.ways import BASE, TOKEN, WAYS, Handler, Way, do, problem, recorded

ASK: dict[str, Any] = {"client_id": "client-1", "risk_profile": "balanced", "amount_usd": Decimal("250000.50")}
QUEUED = {"request_id": 3, "status": "queued"}


class Clock:
    """A clock that moves when somebody sleeps, and only then."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of both clients, in place of the real one."""
    clock = Clock()
    for module in (sender, client, async_client):
        monkeypatch.setattr(module, "monotonic", lambda: clock.now_s)
    monkeypatch.setattr(sender.Sender, "sleep", lambda _, seconds: clock.sleep(seconds))
    monkeypatch.setattr(sender.AsyncSender, "sleep", lambda _, seconds: clock.sleep_async(seconds))
    return clock


class Script:
    """Answers each request with the next of `answers`; an exception class is raised. Keeps the requests."""

    def __init__(self, *answers: Callable[[], httpx.Response] | httpx.Response | type[httpx.TransportError]) -> None:
        self.left = list(answers)
        self.sent: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        answer = self.left.pop(0)
        if isinstance(answer, type):
            raise answer("broken", request=request)
        return answer if isinstance(answer, httpx.Response) else answer()


@pytest.mark.parametrize("way", WAYS)
def test_a_write_is_sent_until_it_is_answered_with_one_key(way: Way) -> None:
    """Transport errors and 429, 502, 503, 504 are retried: the same bytes under the same idempotency key."""
    script = Script(
        httpx.ConnectError,
        httpx.ReadError,
        httpx.Response(502, text="<h1>Bad gateway</h1>"),
        problem("unavailable", 503, {"Retry-After": "0"}),
        httpx.Response(429),
        httpx.Response(504),
        httpx.RemoteProtocolError,
        recorded(QUEUED, 9, 202),
    )
    found = do(way, script, "request_recommendation", **ASK)
    assert (found.request_id, found.receipt) == (3, Receipt(9, "ab" * 32, "/somewhere/9"))
    assert len(script.sent) == 8
    assert len({(request.headers["idempotency-key"], request.content) for request in script.sent}) == 1


@pytest.mark.parametrize("way", WAYS)
def test_each_command_has_a_key_of_its_own(way: Way) -> None:
    """Two commands have two keys, even with the same content; a key of the caller's is used."""
    script = Script(*(recorded(QUEUED) for _ in range(3)))
    for key in (None, None, "my-key"):
        do(way, script, "request_recommendation", **ASK, idempotency_key=key)
    keys = [request.headers["idempotency-key"] for request in script.sent]
    assert len(set(keys)) == 3
    assert keys[2] == "my-key"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422, 500])
def test_a_refusal_is_final(way: Way, status: int) -> None:
    """Any other 4xx, and a 500, is raised at once with the whole answer."""
    errors = [{"field": "amount_usd", "reason": "too small"}]
    script = Script(problem("some-slug", status, errors=errors, current_digest="d" * 64))
    with pytest.raises(LedgerProblem, match="some-slug - said in words - amount_usd: too small") as caught:
        do(way, script, "request_recommendation", **ASK)
    found = caught.value
    assert (found.slug, found.status, found.title, found.detail) == ("some-slug", status, "No", "said in words")
    assert (found.errors, found.current_digest) == (errors, "d" * 64)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("status", "text"), [(302, ""), (200, "<html>"), (418, "<html>")])
def test_an_answer_of_another_server_is_named_as_such(way: Way, status: int, text: str) -> None:
    """An answer that is not the ledger's gets a slug with its status."""
    with pytest.raises(LedgerProblem) as caught:
        do(way, Script(httpx.Response(status, text=text)), "get_request", 1)
    assert caught.value.slug == f"http-{status}"


@pytest.mark.parametrize("way", WAYS)
def test_the_number_of_attempts_is_bounded(way: Way) -> None:
    """After `retries` more attempts the last failure is raised: the problem, or Unreachable."""
    script = Script(*[problem("unavailable", 503)] * 3)
    with pytest.raises(LedgerProblem, match="unavailable"):
        do(way, script, "get_request", 1, retries=2)
    script = Script(*[httpx.ConnectError] * 3)
    with pytest.raises(Unreachable, match="in 3 attempts") as caught:
        do(way, script, "get_request", 1, retries=2)
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


@pytest.mark.parametrize("way", WAYS)
def test_the_time_is_bounded(way: Way, clock: Clock) -> None:
    """A Retry-After beyond the deadline ends the attempts, and no attempt outlasts the deadline."""
    began_s = clock.now_s
    with pytest.raises(LedgerProblem, match="unavailable"):
        do(way, Script(problem("unavailable", 503, {"Retry-After": "3600"})), "get_request", 1, timeout_s=2)
    assert clock.now_s == began_s
    script = Script(*[httpx.ReadTimeout] * 100)
    with pytest.raises(Unreachable):
        do(way, script, "get_request", 1, timeout_s=0.5, retries=100)
    assert 0 < clock.now_s - began_s < 0.5
    timeouts = [request.extensions["timeout"]["read"] for request in script.sent]
    assert timeouts == sorted(timeouts, reverse=True)
    assert timeouts[0] <= 0.5


@pytest.mark.parametrize("way", WAYS)
def test_the_server_says_how_long_to_wait(way: Way, clock: Clock) -> None:
    """Retry-After, in seconds, is waited for, and little more."""
    began_s = clock.now_s
    do(way, Script(problem("unavailable", 503, {"Retry-After": "1"}), httpx.Response(200, json={})), "get_request", 1)
    assert 1.0 < clock.now_s - began_s <= 1.0 + sender.FIRST_PAUSE_S


@pytest.mark.parametrize("way", WAYS)
def test_values_that_cannot_be_recorded_are_not_sent(way: Way) -> None:
    """NaN is refused with its place, before anything is sent."""
    answer = {"recommendation": {"weights": {"cash": float("nan")}}, "model_name": "model-a"}
    with pytest.raises(NotCanonical, match=r"recommendation\.weights\.cash"):
        do(way, Script(), "record_recommendation", 1, **answer)


@pytest.mark.parametrize("way", WAYS)
def test_lists_are_read_to_their_end_or_to_a_limit(way: Way) -> None:
    """recommendations() follows the cursor up to at_most rows."""

    def pages(request: httpx.Request) -> httpx.Response:
        start, limit = int(request.url.params.get("cursor", "0")), int(request.url.params["limit"])
        items = [{"id": number} for number in range(start, min(450, start + limit))]
        following = start + limit
        return httpx.Response(200, json={"items": items, "next_cursor": str(following) if following < 450 else None})

    assert [row["id"] for row in do(way, pages, "recommendations")] == list(range(450))
    assert [row["id"] for row in do(way, pages, "recommendations", at_most=250)] == list(range(250))


def request_in(*states: dict[str, Any]) -> Handler:
    """A server whose request 5 has these states, one after the other; the last stays."""
    left = list(states)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/recommendations/8":
            return httpx.Response(200, json={"id": 8})
        return httpx.Response(200, json=left.pop(0) if len(left) > 1 else left[0])

    return answer


@pytest.mark.parametrize("way", WAYS)
def test_waiting_ends_with_an_answer_a_failure_or_the_time(way: Way) -> None:
    """The recommendation arrives, or the request fails, or the time is over; each has its own result."""
    queued = {"status": "queued"}
    failed = {"status": "failed", "failure_reason": "no-model", "failure_detail": "why"}
    found = do(way, request_in(queued, queued, {"status": "recommended", "recommendation_id": 8}), *WAIT)
    assert found == {"id": 8}
    with pytest.raises(RequestFailed) as caught:
        do(way, request_in(queued, failed), *WAIT)
    assert (caught.value.reason, caught.value.detail) == ("no-model", "why")
    with pytest.raises(NotYet):
        do(way, request_in(queued), *WAIT, within_s=0.1)


WAIT = ("wait_for_recommendation", 5)


def test_the_token_is_sent_and_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """The token is in the header and in no repr, log line or message."""
    caplog.set_level(logging.DEBUG)
    script = Script(httpx.ConnectError, httpx.ConnectError)
    with pytest.raises(Unreachable) as caught:
        do("sync", script, "get_request", 1, retries=1)
    assert script.sent[0].headers["authorization"] == f"Bearer {TOKEN}"
    with LedgerClient("http://me:pass@ledger.test/", TOKEN) as client:
        shown = [repr(client), repr(AsyncLedgerClient(BASE, TOKEN)), caplog.text, repr(caught.value), str(caught.value)]
    assert [text for text in shown if TOKEN in text or "pass" in text] == []
