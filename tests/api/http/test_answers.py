"""Model calls and answers: each route in order 401, 403, 404 or 409, success; and texts of megabytes, exactly."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import orjson
import pytest

from ledger.domain.subject import ROLES
from tests.api.acting import CALL, REJECT, RESPOND, Acting, answer_of, second_tokens
from tests.api.served import ANSWER, Api, fields, problem

UNKNOWN = 2**53 - 1
WRITES: dict[str, tuple[str, dict[str, Any], str]] = {
    "start": (f"/portfolio/requests/{UNKNOWN}/model-calls", CALL, "request-unknown"),
    "answer": (f"/portfolio/requests/{UNKNOWN}/recommendations", ANSWER, "request-unknown"),
    "fail": (f"/portfolio/requests/{UNKNOWN}/failures", {"reason": "no-answer"}, "request-unknown"),
    "completion": (f"/model-calls/{UNKNOWN}/completion", {}, "model-call-unknown"),
    "failure": (f"/model-calls/{UNKNOWN}/failure", {"error_type": "timeout"}, "model-call-unknown"),
}


@pytest.fixture(scope="module")
def act(api: Api) -> Acting:
    """With two tokens of each role."""
    second_tokens(api)
    return Acting(api)


# 401, 403, 404, 422


@pytest.mark.parametrize("write", WRITES)
def test_only_agents_may_write_answers(api: Api, act: Acting, write: str) -> None:
    """No token: 401; another role than agent: 403, whatever the body; an unknown id: 404, named by what is unknown."""
    path, body, slug = WRITES[write]
    with api.records_nothing():
        problem(act.post(path, None, body), 401, "no-token")
        problem(api.call("POST", path, None, json=body, headers={"Authorization": "Bearer x"}), 401, "unknown-token")
        for role in set(ROLES) - {"agent"}:
            assert "agent" in problem(act.post(path, role, {"not": "good"}), 403, "wrong-role")["detail"]
        problem(act.post(path, "agent", body), 404, slug)
        problem(act.post(path.replace(str(UNKNOWN), "0"), "agent", body), 422, "invalid")


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("start", {"provider_name": ""}, "provider_name"),
    ("start", {"request_model": "x" * 201}, "request_model"),
    ("start", {"shown": [{"kind": "recommendation"}]}, "shown[0].id"),
    ("start", {"shown": [{"kind": "document", "id": "a"}] * 1001}, "shown"),
    ("start", {"as_of": -1}, "as_of"),
    ("start", {"prompt_sha256": "x"}, "prompt_sha256"),
    ("start", {"trace_id": "A" * 32}, "trace_id"),
    # Refusals that only the service makes.
    ("start", {"capture": "otlp"}, "capture"),
    ("start", {"mapper_version": "1"}, "mapper_version"),
    ("start", {"claimed_start": "2030-01-01T00:00:00Z"}, "claimed_start"),
    ("completion", {"raw_span": {}}, "raw_span"),
    ("completion", {"usage_input_tokens": -1}, "usage_input_tokens"),
    ("completion", {"latency_ms": "5"}, "latency_ms"),
    ("failure", {"error_type": ""}, "error_type"),
    ("failure", {"raw_span": {}}, "raw_span"),
    ("failure", {"detail": "x" * 20_001}, "detail"),
]


@pytest.mark.parametrize(("write", "change", "field"), BAD)
def test_what_is_malformed_is_422_by_field(
    api: Api, act: Acting, write: str, change: dict[str, Any], field: str
) -> None:
    """Fields out of bounds, and those that only the service may fill in, are refused by name."""
    request_id = api.asked()
    call = act.started(request_id)
    with api.records_nothing():
        found = act.start(request_id, **change) if write == "start" else act.end(call, write, **change)
        assert fields(problem(found, 422, "invalid")) == [field]


# Refused by name, nothing recorded


def test_a_failed_request_takes_no_call_and_no_answer(api: Api, act: Acting) -> None:
    """409 request-failed; a call that was open may still be ended, as what has happened is evidence."""
    request_id = api.asked()
    call = act.started(request_id)
    assert act.fail(request_id, detail="nobody knows").json() == {"request_id": request_id, "status": "failed"}
    with api.records_nothing():
        problem(act.fail(request_id), 409, "request-failed")
        problem(api.answer(request_id), 409, "request-failed")
        problem(act.start(request_id), 409, "request-failed")
    assert act.end(call).status_code == 201
    with api.records_nothing():
        problem(api.answer(request_id, model_call_id=call), 409, "request-failed")


def test_a_request_fails_only_while_it_waits(api: Api, act: Acting) -> None:
    """Not with a recommendation; once it was returned, it may. The reason and the detail are read back."""
    request_id = api.asked()
    made = api.answered(request_id)
    with api.records_nothing():
        problem(act.fail(request_id), 409, "request-finished")
        assert fields(problem(act.fail(request_id, reason="No Answer"), 422, "invalid")) == ["reason"]
        assert fields(problem(act.fail(request_id, detail="x" * 20_001), 422, "invalid")) == ["detail"]
    act.decided(made, **RESPOND)
    failed, again = (act.fail(request_id, key="give-up", detail="no bonds") for _ in range(2))
    assert (failed.status_code, again.json()) == (201, failed.json())
    assert api.head() == (int(failed.headers["ledger-position"]), failed.headers["ledger-hash"])
    row = api.get(f"/portfolio/requests/{request_id}").json()
    assert (row["status"], row["failure_reason"], row["failure_detail"]) == ("failed", "no-answer", "no bonds")
    assert act.row(made)["state"] == "returned"


def test_a_finished_request_takes_an_answer_only_in_its_place(api: Api, act: Acting) -> None:
    """A proposed recommendation takes no other answer; a rejected one takes an answer that names it, and no other."""
    request_id = api.asked()
    with api.records_nothing():
        assert fields(problem(api.answer(request_id, supersedes=1), 422, "invalid")) == ["supersedes"]
    first = api.answered(request_id)
    with api.records_nothing():
        problem(api.answer(request_id), 409, "request-finished")
        problem(api.answer(request_id, supersedes=first), 409, "request-finished")
        found = problem(api.answer(request_id, supersedes=first + 1), 409, "recommendation-superseded")
    assert (found["current_recommendation_id"], found["current_digest"]) == (first, act.digest(first))
    act.decided(first, **REJECT)
    with api.records_nothing():
        problem(api.answer(request_id), 409, "request-finished")
    second = api.answered(request_id, supersedes=first)
    with api.records_nothing():
        problem(api.answer(request_id, supersedes=first), 409, "recommendation-superseded")
    act.decided(second, **RESPOND)
    third = api.answered(request_id)
    assert [row["id"] for row in api.items("/recommendations", request_id=request_id)] == [third, second, first]
    assert api.get(f"/portfolio/requests/{request_id}").json()["recommendation_id"] == third


def test_answers_are_as_the_agent_was_registered(api: Api, act: Acting) -> None:
    """Where its schema says so, weights that do not sum to 1 are refused, naming the field; of another agent not."""
    assert act.command("agent2", "registrations").status_code == 201
    request_id, other = api.asked(), api.asked()
    for wrong, field in (
        (answer_of("0.9999"), "recommendation.allocations"),
        (answer_of("1.0000", "250000.49"), "recommendation.allocations"),
        (answer_of("one"), "recommendation.allocations[0].weight"),
        (ANSWER, "recommendation.allocations"),
    ):
        with api.records_nothing():
            found = problem(api.answer(request_id, "agent2", **wrong), 422, "answer-off-schema")
        assert fields(found) == [field]
    assert api.answer(other, "agent", **answer_of("0.9999")).status_code == 201
    assert api.answer(request_id, "agent2", **answer_of("1.0000")).status_code == 201


def test_calls_belong_to_their_agent_and_end_once(api: Api, act: Acting) -> None:
    """Another agent cannot end it or answer from it; a second end, of either kind, is refused."""
    request_id = api.asked()
    call = act.started(request_id)
    with api.records_nothing():
        problem(act.end(call, role="agent2"), 409, "model-call-of-another")
        assert fields(problem(api.answer(request_id, model_call_id=call), 422, "invalid")) == ["model_call_id"]
    assert act.end(call).json() == {"model_call_id": call, "state": "completed"}
    with api.records_nothing():
        for how in ("completion", "failure"):
            problem(act.end(call, how), 409, "model-call-ended")
        problem(api.answer(request_id, "agent2", model_call_id=call), 422, "invalid")
        problem(api.answer(request_id, model_call_id=call + 1), 422, "invalid")
    failed = act.started(request_id)
    assert act.end(failed, "failure").json() == {"model_call_id": failed, "state": "failed"}
    elsewhere = api.asked()
    with api.records_nothing():
        problem(api.answer(request_id, model_call_id=failed), 422, "invalid")
        problem(api.answer(elsewhere, model_call_id=call), 422, "invalid")
    made = api.answered(request_id, model_call_id=call)
    assert act.row(made)["model_call_id"] == call
    assert api.get(f"/model-calls/{call}").json()["recommendation_id"] == made


# Success


def test_a_call_is_read_back_with_all_that_was_said(api: Api, act: Acting) -> None:
    """Location, position and hash; every field as sent; the messages exactly, and only in the call itself."""
    request_id = api.asked()
    sent: dict[str, Any] = {
        "operation_name": "chat",
        "provider_name": "local",
        "request_model": "model-a",
        "request_parameters": {"temperature": 0.2, "seed": 7},
        "agent_version": "1.2",
        "prompt_name": "allocation",
        "prompt_version": "3",
        "prompt_sha256": "a" * 64,
        "tool_definitions_sha256": "b" * 64,
        "shown": [{"kind": "document", "id": "house-view", "sha256": "c" * 64}],
        "as_of": 1,
        "trace_id": "d" * 32,
        "span_id": "e" * 16,
    }
    sealed: dict[str, Any] = {
        "system_instructions": "Be brief.",
        "input_messages": [{"role": "user", "parts": [{"content": "?"}]}],
    }
    response = act.start(request_id, **sent, **sealed)
    call = int(response.headers["ledger-position"])
    assert (response.status_code, response.json()) == (201, {"model_call_id": call, "request_id": request_id})
    assert response.headers["location"] == f"/model-calls/{call}"
    assert (call, response.headers["ledger-hash"]) == api.head()
    row = api.get(f"/model-calls/{call}").json()
    assert {name: row[name] for name in sent} == sent | {"shown": row["shown"]}
    assert [{k: v for k, v in one.items() if v is not None} for one in row["shown"]] == sent["shown"]
    assert (row["state"], row["capture"], row["agent"], row["started"], row["ended"]) == (
        "open",
        "direct",
        "agent",
        sealed,
        None,
    )
    said: dict[str, Any] = {
        "response_id": "r-1",
        "response_model": "model-a-2030",
        "response_finish_reasons": ["stop"],
        "usage_input_tokens": 12,
        "usage_output_tokens": 2**53 - 1,
        "latency_ms": 0,
    }
    ended = act.end(call, **said, output_messages=["fine"])
    assert ended.headers["location"] == f"/model-calls/{call}"
    row = api.get(f"/model-calls/{call}").json()
    assert {name: row[name] for name in said} == said
    assert (row["state"], row["ended"]) == ("completed", {"output_messages": ["fine"]})
    [listed] = api.items("/model-calls", request_id=request_id)
    assert "started" not in listed
    assert "ended" not in listed
    assert [one["id"] for one in api.items("/model-calls", request_id=request_id, state="completed")] == [call]
    assert api.items("/model-calls", request_id=request_id, state="open") == []


# Keys


def test_commands_sent_again_are_recorded_once(api: Api, act: Acting) -> None:
    """With a key, each gives the first answer again, also when the request is long finished."""
    request_id = api.asked()
    starts = [act.start(request_id, key="s") for _ in range(2)]
    call = int(starts[0].json()["model_call_id"])
    ends = [act.end(call, key="e", output_messages=["x"]) for _ in range(2)]
    fail_call = act.started(request_id)
    answers = [api.answer(request_id, key="a", model_call_id=call) for _ in range(2)]
    failures = [act.end(fail_call, "failure", key="f") for _ in range(2)]
    with api.records_nothing():
        again = [
            act.start(request_id, key="s"),
            act.end(call, key="e", output_messages=["x"]),
            api.answer(request_id, key="a", model_call_id=call),
            act.end(fail_call, "failure", key="f"),
        ]
        for pair, third in zip((starts, ends, answers, failures), again, strict=True):
            for other in (pair[1], third):
                assert (other.status_code, other.json()) == (201, pair[0].json())
                assert other.headers["ledger-position"] == pair[0].headers["ledger-position"]
        problem(act.start(request_id, key="s", request_model="model-b"), 409, "idempotency-key-reused")
        problem(act.end(call, key="e", output_messages=["y"]), 409, "idempotency-key-reused")
        problem(act.end(call, "failure", key="e"), 409, "idempotency-key-reused")
        problem(api.answer(request_id, key="a"), 409, "idempotency-key-reused")


def test_a_key_does_not_end_another_call(api: Api, act: Acting) -> None:
    """The same key and the same words for another call of the same request are another command: 409."""
    request_id = api.asked()
    first, second = act.started(request_id), act.started(request_id)
    assert act.end(first, key="one", output_messages=["x"]).status_code == 201
    with api.records_nothing():
        problem(act.end(second, key="one", output_messages=["x"]), 409, "idempotency-key-reused")
    assert api.get(f"/model-calls/{second}").json()["state"] == "open"


def test_a_key_does_not_answer_in_another_place(api: Api, act: Acting) -> None:
    """An answer with `supersedes` and the same answer without it are two commands."""
    request_id = api.asked()
    first = api.answered(request_id)
    act.decided(first, **REJECT)
    second = api.answer(request_id, key="place", supersedes=first)
    assert second.status_code == 201
    with api.records_nothing():
        again = api.answer(request_id, key="place", supersedes=first)
        assert (again.status_code, again.json()) == (201, second.json())
        problem(api.answer(request_id, key="place", supersedes=first + 1), 409, "idempotency-key-reused")


# Races


@pytest.mark.parametrize("attempt", range(3))
def test_of_many_answers_at_once_one_is_recorded(api: Api, act: Acting, attempt: int) -> None:
    """Two agents, eight answers, one request: one is taken, the others are told that the request has its own."""
    request_id = api.asked()

    def answer(number: int) -> httpx.Response:
        return api.answer(request_id, ("agent", "agent2")[number % 2], **answer_of("1"), key=f"{attempt}-{number}")

    with act.records(1), ThreadPoolExecutor(8) as pool:
        found = list(pool.map(answer, range(8)))
    assert sorted(response.status_code for response in found) == [201] + [409] * 7
    for response in found:
        if response.status_code != 201:
            problem(response, 409, "request-finished")


@pytest.mark.parametrize("attempt", range(3))
def test_a_call_ends_once_however_many_try_at_once(api: Api, act: Acting, attempt: int) -> None:
    """Completed or failed, whichever is recorded first; the read model says the same."""
    call = act.started(api.asked())
    with act.records(1), ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: act.end(call, ("completion", "failure")[n % 2]), range(8)))
    [won] = [response for response in found if response.status_code == 201]
    for response in found:
        if response is not won:
            problem(response, 409, "model-call-ended")
    assert api.get(f"/model-calls/{call}").json()["state"] == won.json()["state"]


# Texts of megabytes

MEGABYTES = 5 * 1024 * 1024
SCRIPTS = {
    "latin": 'The quick brown fox \\ " / ',
    # Each is six bytes of JSON, and it is the JSON whose size is bounded.
    "control characters": "".join(f"line of text {chr(code)} " for code in range(1, 32)),
    "controls of other blocks": "\x7f\x80\x9f\u2028\u2029\ufeff\ufffe\uffff",
    "arabic and hebrew": "التوصية \u202eהמלצה\u202c ",
    "chinese, japanese, korean": "资产配置の推奨 추천 ",
    "indic": "क्षत्रिय பரிந்துரை ",
    "emoji and beyond the first plane": "👩‍👩‍👧‍👦🏳️‍🌈𝔘𐍈𒀀\U0010ffff",
    "composed and decomposed": "Å\u212bA\u030a ﬁ ",
    "escapes that are text": "\\u0000 \\ud800 \\n %00 &amp; ${x} ",
}


def of_size(text: str) -> str:
    """Repeat the text up to five megabytes."""
    return text * (MEGABYTES // len(text.encode()) + 1)


@pytest.mark.parametrize("script", SCRIPTS)
def test_texts_of_megabytes_come_back_exactly(api: Api, act: Acting, script: str) -> None:
    """A prompt, an input, an output and a recommendation of 5 MB each, in any script: read back to the character."""
    text = of_size(SCRIPTS[script])
    request_id = api.asked()
    call = act.started(request_id, input_messages=[{"role": "user", "content": text}])
    assert act.end(call, output_messages={"text": text}).status_code == 201
    made = api.answered(request_id, prompt=text, recommendation={"text": text}, model_call_id=call)
    read = orjson.loads(api.get(f"/model-calls/{call}").content)
    assert read["started"]["input_messages"] == [{"role": "user", "content": text}]
    assert read["ended"]["output_messages"] == {"text": text}
    row = orjson.loads(api.get(f"/recommendations/{made}").content)
    assert row["prompt"] == text
    assert row["recommendation"] == {"text": text}


def test_any_characters_at_random_come_back_exactly(api: Api, act: Acting) -> None:
    """All characters that JSON can have, except U+0000, which PostgreSQL cannot store; also in names of members."""
    dice = random.Random(7)
    codes = [code for code in range(1, 0x110000) if not 0xD800 <= code <= 0xDFFF]
    text = "".join(map(chr, dice.sample(codes, 200_000)))
    request_id = api.asked()
    said = {text[:5_000]: text}
    call = act.started(request_id, input_messages=said, system_instructions=text)
    made = api.answered(request_id, prompt=text, recommendation=said)
    read = orjson.loads(api.get(f"/model-calls/{call}").content)["started"]
    assert read == {"input_messages": said, "system_instructions": text}
    row = orjson.loads(api.get(f"/recommendations/{made}").content)
    assert (row["prompt"], row["recommendation"]) == (text, said)


@pytest.mark.parametrize("bad", ["\\u0000", "\\ud800", "\\udc00\\ud800"])
def test_what_cannot_be_kept_is_refused(api: Api, act: Acting, bad: str) -> None:
    """U+0000 and lone surrogates are refused, never replaced; nothing is recorded."""
    request_id = api.asked()
    body = orjson.dumps({**CALL, "input_messages": "@"}).replace(b"@", bad.encode())
    with api.records_nothing():
        path = f"/portfolio/requests/{request_id}/model-calls"
        found = api.call("POST", path, "agent", content=body, headers={"Content-Type": "application/json"})
        assert found.status_code in {400, 422}
        assert fields(found.json()) in ([], ["input_messages"], [""], ["body"])


def test_what_is_too_large_is_refused_by_name(api: Api, act: Acting) -> None:
    """Over 8 MiB in one sealed field: 422 with the field; over the bound of a body: 413."""
    request_id = api.asked()
    with api.records_nothing():
        found = problem(act.start(request_id, input_messages="x" * 9 * 1024 * 1024), 422, "invalid")
        assert fields(found) == ["input_messages"]
        problem(act.start(request_id, input_messages="x" * 21 * 1024 * 1024), 413, "too-large")
