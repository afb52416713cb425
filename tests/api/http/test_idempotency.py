"""Idempotency-Key: a command that is sent again is not recorded again, and gets the answer that it got."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.api.served import ASK, Api, fields, make_tokens, problem


def essence(response: httpx.Response) -> tuple[Any, ...]:
    """Return the parts that a caller uses: status, body, and the place in the chain."""
    headers = (response.headers.get(name) for name in ("location", "ledger-position", "ledger-hash"))
    return response.status_code, response.content, *headers


def test_the_same_command_again_gets_the_same_answer(api: Api) -> None:
    """The same key with the same body: the same answer to the byte, position and hash, and nothing recorded."""
    first = api.ask(key="same", notes="x", objectives=["a"])
    assert first.status_code == 202
    with api.records_nothing():
        for _ in range(3):
            assert essence(api.ask(key="same", notes="x", objectives=["a"])) == essence(first)


def test_the_same_command_written_differently_is_the_same(api: Api) -> None:
    """Order of members, white space and the way an amount is written do not make another command."""
    first = api.ask(key="written", amount_usd="250000.50")
    body = b'{ "amount_usd": 250000.5, "risk_profile":"balanced", "client_id" : "client-\\u0031" }'
    headers = {"Idempotency-Key": "written", "Content-Type": "application/json; charset=utf-8"}
    with api.records_nothing():
        again = api.call("POST", "/portfolio/recommendations", content=body, headers=headers)
    assert essence(again) == essence(first)


@pytest.mark.parametrize("change", [{"client_id": "client-2"}, {"amount_usd": 1}, {"notes": "y"}, {"horizon_years": 1}])
def test_another_command_with_the_same_key_is_a_409(api: Api, change: dict[str, Any]) -> None:
    """A key that was used for something else is a 409 of its own type, whether the difference is sealed or in clear."""
    key = f"used-{next(iter(change))}"
    first = api.ask(key=key)
    with api.records_nothing():
        problem(api.ask(key=key, **change), 409, "idempotency-key-reused")
        assert essence(api.ask(key=key)) == essence(first)


def test_keys_are_the_callers_own(api: Api) -> None:
    """Two callers with the same key and body make two requests."""
    other = make_tokens(api.url, "other-")["advisor"]
    first = api.ask(key="mine")
    headers = {"Idempotency-Key": "mine", "Authorization": f"Bearer {other}"}
    second = api.call("POST", "/portfolio/recommendations", json=ASK, headers=headers)
    assert second.status_code == 202
    assert second.json()["request_id"] == first.json()["request_id"] + 1


def test_an_answer_again_after_the_request_is_finished(api: Api) -> None:
    """An agent that did not hear of its success may send its answer again: the original 201, not a 409."""
    request_id = api.asked()
    first = api.answer(request_id, key="answer", prompt="p")
    assert first.status_code == 201
    with api.records_nothing():
        assert essence(api.answer(request_id, key="answer", prompt="p")) == essence(first)
        problem(api.answer(request_id, key="answer", prompt="q"), 409, "idempotency-key-reused")
        problem(api.answer(request_id, key="another"), 409, "request-finished")
        problem(api.answer(request_id), 409, "request-finished")


def test_an_answer_to_another_request_with_the_same_key(api: Api) -> None:
    """A key belongs to one command: the same answer to another request needs another key."""
    one, two = api.asked(), api.asked()
    assert api.answer(one, key="both").status_code == 201
    with api.records_nothing():
        problem(api.answer(two, key="both"), 409, "idempotency-key-reused")
        problem(api.answer(2**40, key="both"), 409, "idempotency-key-reused")
        problem(api.answer(2**40, key="neither"), 404, "request-unknown")


def test_the_same_command_sent_at_once_is_recorded_once(api: Api) -> None:
    """Sent many times at the same moment, a command is recorded once, and all get the same answer."""
    api.asked()  # registers the client
    position, _ = api.head()
    with ThreadPoolExecutor(12) as pool:
        asked = list(pool.map(lambda _: essence(api.ask(key="at once")), range(24)))
        assert len(set(asked)) == 1
        assert asked[0][0] == 422  # a blank is no part of a key
        asked = list(pool.map(lambda _: essence(api.ask(key="at-once")), range(24)))
        assert len(set(asked)) == 1
        assert asked[0][0] == 202
        request_id = api.ask(key="at-once").json()["request_id"]
        answers = list(pool.map(lambda _: essence(api.answer(request_id, key="at-once")), range(24)))
    assert len(set(answers)) == 1
    assert answers[0][0] == 201
    assert api.head()[0] == position + 2


def test_many_answers_at_once(api: Api) -> None:
    """If many answers to one request arrive at once, one is recorded and each other one gets a 409."""
    request_id = api.asked()
    with ThreadPoolExecutor(12) as pool:
        responses = list(pool.map(lambda n: api.answer(request_id, model_name=f"model-{n}"), range(12)))
    assert sorted(response.status_code for response in responses) == [201, *[409] * 11]
    for response in responses:
        if response.status_code == 409:
            problem(response, 409, "request-finished")


def test_without_a_key_each_is_a_new_one(api: Api) -> None:
    """No key, no replay."""
    assert api.asked() + 1 == api.asked()


@pytest.mark.parametrize("key", ["", "a b", "a" * 256, "é", "\ufeff"])
def test_a_malformed_idempotency_key_is_a_422(api: Api, key: str) -> None:
    """A key is 1 to 255 visible ASCII characters; anything else is a 422 that names the header."""
    headers = {"Idempotency-Key": key.encode("utf-8")}
    with api.records_nothing():
        found = problem(api.call("POST", "/portfolio/recommendations", json=ASK, headers=headers), 422, "invalid")
    assert fields(found) == ["idempotency-key"]


def test_a_key_of_255_characters_is_accepted(api: Api) -> None:
    """255 characters, of every kind that may be in one."""
    key = "".join(map(chr, range(0x21, 0x7F))).ljust(255, "k")
    first = api.ask(key=key)
    assert first.status_code == 202
    assert essence(api.ask(key=key)) == essence(first)
