"""Model calls are recorded before and after, with both clients; and what happens if that is impossible."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import httpx
import pytest
from advice_ledger_client import (
    AlreadyEntered,
    AsyncLedgerClient,
    CallReceipt,
    LedgerClient,
    LedgerProblem,
    NotCompleted,
    NotRecorded,
    Receipt,
)

from schema.events import ModelCallFailed
from tests.client.ways import WAYS, Way, call, problem, recorded

START = "/portfolio/requests/7/model-calls"
STARTED, ENDED = Receipt(4, "ab" * 32, "/somewhere/4"), Receipt(5, "ab" * 32, "/somewhere/5")


class Ledger:
    """Answers like the server. `refuse` has other answers, by the last part of the path."""

    def __init__(self, **refuse: httpx.Response) -> None:
        self.refuse = refuse
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        kind = request.url.path.rpartition("/")[2].replace("-", "_")
        if kind in self.refuse:
            return self.refuse[kind]
        self.sent.append((request.url.path, json.loads(request.content)))
        if request.url.path == START:
            return recorded({"model_call_id": 4, "request_id": 7}, 4)
        return recorded({"model_call_id": 4, "state": kind}, 5)


def answered(found: Any) -> None:
    """Complete the call."""
    found.complete([{"role": "assistant"}], response_id="r-1", finish_reasons=("stop",), usage_output_tokens=0)


@pytest.mark.parametrize("way", WAYS)
def test_a_call_is_recorded_before_and_after(way: Way) -> None:
    """The start is recorded when the block begins; the end, with the arguments of complete(), after it."""
    ledger = Ledger()

    def block(found: Any) -> None:
        assert [path for path, _ in ledger.sent] == [START]
        assert found.receipt == CallReceipt(4, STARTED, None)
        answered(found)

    shown = [{"kind": "recommendation", "id": "2"}]
    found = call(way, ledger, block, input_messages=["hello"], shown=shown, as_of=3)
    assert found.receipt == CallReceipt(4, STARTED, ENDED)
    [(_, start), (path, end)] = ledger.sent
    assert start == {
        "input_messages": ["hello"],
        "provider_name": "test",
        "request_model": "model-a",
        "shown": shown,
        "as_of": 3,
    }
    assert path == "/model-calls/4/completion"
    assert end.pop("latency_ms") in range(5000)
    assert end == {
        "output_messages": [{"role": "assistant"}],
        "response_id": "r-1",
        "response_finish_reasons": ["stop"],
        "usage_output_tokens": 0,
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fail_closed", [True, False])
def test_a_call_that_is_not_recorded_is_not_made(way: Way, fail_closed: bool) -> None:
    """A start that is refused keeps the block from running, with fail_closed or without: a suspension holds."""
    ran: list[Any] = []
    ledger = Ledger(model_calls=problem("agent-suspended", 409))
    with pytest.raises(NotRecorded) as caught:
        call(way, ledger, ran.append, fail_closed=fail_closed)
    assert ran == []
    assert isinstance(caught.value.__cause__, LedgerProblem)
    assert caught.value.call.receipt is None
    with pytest.raises(NotRecorded):
        _ = caught.value.call.model_call_id


@pytest.mark.parametrize("way", WAYS)
def test_an_unreachable_ledger_stops_the_call_unless_fail_closed_is_false(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    """It fails closed. With fail_closed=False the block runs, a warning is logged, and no end is recorded either."""
    ran: list[Any] = []
    down = Ledger(model_calls=problem("unavailable", 503))
    with pytest.raises(NotRecorded):
        call(way, down, ran.append)
    assert ran == []
    found = call(way, down, answered, fail_closed=False)
    assert (found.receipt, down.sent) == (None, [])
    assert "model call for request 7 is not recorded" in caplog.text


@pytest.mark.parametrize("way", WAYS)
def test_a_model_is_not_asked_with_messages_that_cannot_be_recorded(way: Way) -> None:
    """Messages without a canonical form are refused before the block, like any start that cannot be recorded."""
    ran: list[Any] = []
    ledger = Ledger()
    with pytest.raises(NotRecorded, match="input_messages"):
        call(way, ledger, ran.append, input_messages=[float("inf")])
    assert (ran, ledger.sent) == ([], [])


@pytest.mark.parametrize("way", WAYS)
def test_a_failure_is_recorded_and_raised(way: Way) -> None:
    """The class is recorded in clear. The message is sealed, without characters that the ledger refuses."""
    ledger = Ledger()

    def block(found: Any) -> None:
        raise httpx.ReadTimeout("slow \0 \ud800 model")

    with pytest.raises(httpx.ReadTimeout):
        call(way, ledger, block)
    path, end = ledger.sent[1]
    assert path == "/model-calls/4/failure"
    assert (end["error_type"], end["detail"]) == ("httpx.ReadTimeout", "slow \ufffd ? model")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_every_way_out_is_recorded(way: Way, error: type[BaseException]) -> None:
    """An interrupted call has an end, even after complete()."""
    ledger = Ledger()

    def block(found: Any) -> None:
        answered(found)
        raise error

    with pytest.raises(error):
        call(way, ledger, block)
    path, end = ledger.sent[1]
    assert (path, end["error_type"], end.get("detail")) == ("/model-calls/4/failure", error.__name__, None)


@pytest.mark.parametrize("way", WAYS)
def test_a_block_must_complete_or_fail(way: Way) -> None:
    """A block without complete() is recorded as failed, and raises."""
    ledger = Ledger()
    with pytest.raises(NotCompleted):
        call(way, ledger, repr)
    path, end = ledger.sent[1]
    assert (path, end["error_type"]) == ("/model-calls/4/failure", "no-result")


@pytest.mark.parametrize("way", WAYS)
def test_an_end_that_is_not_recorded_is_raised_with_the_result(way: Way) -> None:
    """The exception carries the model's answer."""
    with pytest.raises(NotRecorded, match="model call 4") as caught:
        call(way, Ledger(completion=problem("invalid", 422)), answered)
    assert caught.value.call.result is not None
    assert caught.value.call.result["output_messages"] == [{"role": "assistant"}]
    assert caught.value.call.receipt == CallReceipt(4, STARTED, None)


@pytest.mark.parametrize("way", WAYS)
def test_the_block_s_own_error_comes_first(way: Way) -> None:
    """If its record fails as well, the exception gets a note."""

    def block(found: Any) -> None:
        raise ValueError("the model's")

    with pytest.raises(ValueError, match="the model's") as caught:
        call(way, Ledger(failure=problem("unavailable", 503)), block)
    assert "the end of model call 4 is not recorded" in caught.value.__notes__[0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("refused", [False, True])
def test_a_call_is_entered_once(way: Way, refused: bool) -> None:
    """A second entry sends nothing: the first answer would be recorded as the second call's."""
    ledger = Ledger(**({"model_calls": problem("agent-suspended", 409)} if refused else {}))
    about: dict[str, Any] = {"provider_name": "test", "request_model": "model-a", "input_messages": []}
    transport = httpx.MockTransport(ledger)
    ran: list[Any] = []

    def again() -> None:
        client = LedgerClient("http://ledger.test", "token", http=httpx.Client(transport=transport))
        found = client.model_call(7, **about)
        with contextlib.suppress(NotRecorded), found:
            answered(found)
        ledger.refuse.clear()
        with found:
            ran.append(found)

    async def again_async() -> None:
        client = AsyncLedgerClient("http://ledger.test", "token", http=httpx.AsyncClient(transport=transport))
        found = client.model_call(7, **about)
        with contextlib.suppress(NotRecorded):
            async with found:
                answered(found)
        ledger.refuse.clear()
        async with found:
            ran.append(found)

    with pytest.raises(AlreadyEntered, match="request 7"):
        again() if way == "sync" else asyncio.run(again_async())
    assert (ran, len(ledger.sent)) == ([], 0 if refused else 2)


@pytest.mark.parametrize(
    ("error", "kind", "detail"),
    [
        (type("Local", (Exception,), {"__module__": "m", "__qualname__": "f.<locals>.E"})("no"), "m.f.locals.E", "no"),
        (type("Jane Doe", (Exception,), {"__module__": "m"})("no"), "unknown", "m.Jane Doe: no"),
        (type("N" * 300, (Exception,), {"__module__": "m"})(), "unknown", f"m.{'N' * 300}"),
    ],
)
def test_the_kind_of_a_failure_is_a_name(error: Exception, kind: str, detail: str) -> None:
    """An error type is recorded in clear for good, so an unusual class name is sealed instead."""
    ledger = Ledger()

    def block(found: Any) -> None:
        raise error

    with pytest.raises(type(error)):
        call("sync", ledger, block)
    _, end = ledger.sent[1]
    assert (end["error_type"], end["detail"]) == (kind, detail)
    assert ModelCallFailed.model_validate(end).error_type == kind


@pytest.mark.parametrize(
    ("said", "kind", "detail"),
    [(("rate-limited", "slow"), "rate-limited", "slow"), (("Jane hung up", "bye"), "unknown", "Jane hung up: bye")],
)
def test_text_in_place_of_an_error_type_is_sealed(said: tuple[str, str], kind: str, detail: str) -> None:
    """Free text in place of an error type is sealed."""
    ledger = Ledger()
    call("sync", ledger, lambda found: found.fail(*said))
    assert (ledger.sent[1][1]["error_type"], ledger.sent[1][1]["detail"]) == (kind, detail)


def test_a_cancelled_call_has_an_end() -> None:
    """Cancelling the task records the failure before the cancellation continues."""
    ledger = Ledger()

    within = asyncio.Event()

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(ledger)) as http:
            client = AsyncLedgerClient("http://ledger.test", "token", http=http)
            about: dict[str, Any] = {"provider_name": "test", "request_model": "model-a", "input_messages": []}
            async with client.model_call(7, **about):
                within.set()
                await asyncio.Event().wait()

    async def cancelled() -> None:
        task = asyncio.create_task(run())
        await within.wait()
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert ledger.sent[1][1]["error_type"] == "asyncio.exceptions.CancelledError"


def test_the_repr_shows_no_messages() -> None:
    """The repr of a call contains no messages."""
    found = call("sync", Ledger(), answered, input_messages=["a secret"])
    assert "secret" not in repr(found)
    assert "assistant" not in repr(found)
