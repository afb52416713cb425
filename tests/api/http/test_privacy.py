"""Values that a caller sent are personal: no response to a mistake repeats them, and no log holds them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.api.program import serving
from tests.api.served import ANSWER, ASK, ASKS, Api, make_tokens, problem, served

MARK = "jane-doe-4711"
# Loggers of the test's own side, which may say what it sends; and the access log, which is off unless asked for, and
# then without queries (tests/api/cli/test_cli.py). pytest sees it all the same.
OURS = ("httpx", "httpcore", "uvicorn.access")

BODIES: list[bytes] = [
    b'{"client_id": "%b"',
    b'{"client_id": "%b", "notes": "\\ud800"}',
    b'{"notes": "%b \xff"}',
    b"%b",
    b'["%b"]',
    *(
        json.dumps({**ASK, name: "%b"}).encode()
        for name in ("amount_usd", "risk_profile", "horizon_years", "objectives")
    ),
    json.dumps({**ASK, "client_id": "%b" * 100}).encode(),
    json.dumps({**ASK, "notes": "%b\0"}).encode(),
    json.dumps({**ASK, "objectives": ["%b\0"]}).encode(),
    json.dumps({**ASK, "surplus": "%b"}).encode(),
    json.dumps({**ASK, "constraints": {"max_equity": "%b", "exclude_asset_classes": ["%b!"]}}).encode(),
]
DIGEST = "0" * 64
# To each of the paths below in turn: wrong in shape, or right and refused for what is recorded.
DECISIONS: list[dict[str, Any]] = [
    {"digest": MARK, "outcome": "approve"},
    {"digest": DIGEST, "outcome": MARK},
    {"digest": DIGEST, "outcome": "reject", "reason_code": MARK, "rationale": MARK},
    {"digest": DIGEST, "outcome": "reject", "reason_code": "not-in-the-list", "rationale": MARK},
    {"digest": DIGEST, "outcome": "edit", "replacement": {MARK: MARK}, "rationale": MARK},
    {"digest": DIGEST, "outcome": "respond", "response": f"{MARK}\0"},
    {"digest": DIGEST, "outcome": "approve", "rationale": MARK},
    {"digest": DIGEST, "channel": "phone", "message": MARK},
    {"digest": DIGEST, "channel": MARK},
    {"digest": DIGEST, "outcome": "approve", "rationale": MARK, "decision_id": MARK},
    {"reason": [MARK]},
]
DECIDED = [
    f"{path.format(one)}"
    for one in (1, 2)
    for path in ("/recommendations/{}/decisions", "/decisions/{}/confirmations", "/recommendations/{}/communications")
]
QUERIES = ["client_id=%s%%00", "cursor=%s", "as_of=%s", "from=%s", "status=%s", "limit=%s", "consistency=%s"]


def mistakes() -> Iterator[dict[str, Any]]:
    """Requests with MARK in a value of them, each wrong in its own way."""
    for body in BODIES:
        yield {"method": "POST", "url": ASKS, "content": body.replace(b"%b", MARK.encode())}
    for query in QUERIES:
        yield {"method": "GET", "url": f"/portfolio/requests?{query % MARK}"}
        yield {"method": "GET", "url": f"/recommendations?{query % MARK}"}
    for url in (f"/portfolio/requests/{MARK}", f"/recommendations/{MARK}", f"/{MARK}", f"/schemas/{MARK}"):
        yield {"method": "GET", "url": url}
    for decision in DECISIONS:
        for url in (*DECIDED, f"/agents/{MARK}!/suspensions"):
            yield {"method": "POST", "url": url, "json": decision}
    yield {"method": "GET", "url": f"/reports/{MARK}"}
    yield {"method": "GET", "url": f"/decisions?outcome={MARK}"}
    yield {"method": "GET", "url": f"/model-calls?older_than_s={MARK}"}
    yield {"method": "POST", "url": ASKS, "json": ASK, "headers": {"Idempotency-Key": f"{MARK} x"}}
    yield {"method": "POST", "url": ASKS, "content": MARK, "headers": {"Content-Type": MARK}}
    yield {"method": "GET", "url": "/recommendations", "headers": {"Authorization": f"Bearer {MARK}"}}
    yield {"method": "GET", "url": "/recommendations", "headers": {"Authorization": MARK}}
    yield {"method": "POST", "url": f"/portfolio/requests/{MARK}/recommendations", "json": ANSWER}


def send(client: httpx.Client, token: str, how: dict[str, Any]) -> httpx.Response:
    """The response to one of them."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **how.pop("headers", {})}
    return client.request(headers=headers, **how)


def conflicts(client: httpx.Client, tokens: dict[str, str]) -> list[httpx.Response]:
    """Responses to requests that are well-formed and refused for what is recorded."""
    found = []
    for client_id in (MARK, f"{MARK}-b"):
        asked = post(ASKS, {**ASK, "client_id": client_id, "notes": MARK}, key="once")
        found.append(send(client, tokens["advisor"], asked))
    path = f"/portfolio/requests/{found[0].json()['request_id']}/recommendations"
    for text, key in ((MARK, "answer"), (f"{MARK}-b", "answer"), (MARK, "another")):
        answer = post(path, {"recommendation": {"for": text}, "model_name": "m", "prompt": text}, key=key)
        found.append(send(client, tokens["agent"], answer))
    assert [response.status_code for response in found] == [202, 409, 201, 409, 409]
    return found


def post(url: str, body: Any, *, key: str) -> dict[str, Any]:
    """A POST of JSON."""
    return {"method": "POST", "url": url, "json": body, "headers": {"Idempotency-Key": key}}


@contextmanager
def connected(base: str) -> Iterator[httpx.Client]:
    """A client of the server at this address."""
    with httpx.Client(base_url=base, timeout=60) as client:
        yield client


def test_no_response_and_no_log_repeats_a_value(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """No mistake and no conflict brings a value back, in the body or in a header, or leaves it in a log."""
    caplog.set_level(logging.DEBUG)
    with connected(api.base) as client:
        responses = [send(client, api.tokens["advisor"], how) for how in mistakes()]
        assert {response.status_code // 100 for response in responses} == {4}
        responses += conflicts(client, api.tokens)
    for response in responses:
        assert MARK not in response.text
        assert MARK not in str(response.headers)
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith(OURS)]
    assert not [message for message in logged if MARK in message]


def test_an_unexpected_error_is_logged_without_its_message(
    module_ledger: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours is a 500 with a problem; the log has its class and where it was, and not what it says."""

    async def fail() -> None:
        raise ValueError(f"cannot stand {MARK}")

    with served(module_ledger, tokens={}) as api:
        api.app.add_api_route("/fails", fail)
        assert MARK not in problem(api.get("/fails", None), 500, "internal")["detail"]
    assert "unexpected ValueError in GET /fails" in caplog.text
    assert "in fail\n" in caplog.text
    assert MARK not in caplog.text


def test_the_program_logs_no_value(module_ledger: str) -> None:
    """The same for the program as it is run: nothing of it on stdout or stderr."""
    tokens = make_tokens(module_ledger, "program-")
    with serving("--database-url", module_ledger, "--no-worker") as server:
        with connected(server.base) as client:
            for how in mistakes():
                assert send(client, tokens["advisor"], how).status_code < 500
            conflicts(client, tokens)
        server.stop()
        assert MARK not in server.out
        assert MARK not in server.err
