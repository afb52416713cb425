"""Refusals, byte for byte: each JSON write with each kind of fault answers as recorded in refusals.json.

Each line of the file is [status, headers, body, faults that are answered so].

If an answer is to change, change the file as well: programs depend on these answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.api.served import ANSWER, ASK, ASKS, Api

RECORDED = Path(__file__).with_name("refusals.json")
DIGEST = "0" * 64
# Each JSON write: its path, a role that may send it, one that may not, and a body that is valid.
WRITES: list[tuple[str, str, str, dict[str, Any]]] = [
    (ASKS, "advisor", "agent", ASK),
    ("/portfolio/requests/{id}/recommendations", "agent", "advisor", ANSWER),
    ("/portfolio/requests/{id}/failures", "agent", "compliance", {"reason": "no-data", "detail": "none"}),
    ("/portfolio/requests/{id}/model-calls", "agent", "advisor", {"provider_name": "p", "request_model": "m"}),
    ("/model-calls/{id}/completion", "agent", "advisor", {"response_id": "r"}),
    ("/model-calls/{id}/failure", "agent", "advisor", {"error_type": "timeout"}),
    ("/recommendations/{id}/openings", "advisor", "agent", {"digest": DIGEST}),
    ("/recommendations/{id}/decisions", "advisor", "compliance", {"digest": DIGEST, "outcome": "approve"}),
    ("/recommendations/{id}/communications", "advisor", "admin", {"digest": DIGEST, "channel": "letter"}),
    ("/decisions/{id}/confirmations", "compliance", "agent", {"digest": DIGEST, "outcome": "approve"}),
    ("/agents/{name}/registrations", "admin", "advisor", {"answer_schema": "any/v1"}),
    ("/agents/{name}/suspensions", "compliance", "agent", {"reason": "test"}),
    ("/agents/{name}/resumptions", "admin", "advisor", {"reason": "test"}),
]
# Bodies that are no valid command anywhere.
BODIES = [b"", b"null", b"[]", b"{}", b"{", b'{"digest": NaN}', b'{"\xff": 1}', b'{"surplus": 1, "z": [1, {"q": 2}]}']
# The response's headers that callers read.
HEADERS = ["content-type", "allow", "www-authenticate", "retry-after", "cache-control"]


def faults_of(write: tuple[str, str, str, dict[str, Any]]) -> Iterator[tuple[str, str, str | None, dict[str, Any]]]:
    """Yield (method, path, role, request) for each fault of a write."""
    template, role, other, valid = write
    path = template.format(id=999_999, name="no-such-agent")
    good: dict[str, Any] = {"headers": {"Content-Type": "application/json"}, "content": json.dumps(valid).encode()}

    def with_headers(**headers: str) -> dict[str, Any]:
        return {**good, "headers": {**good["headers"], **{name.replace("_", "-"): headers[name] for name in headers}}}

    yield "POST", path, None, good
    yield "POST", path, None, with_headers(Authorization="Basic eDp5")
    yield "POST", path, None, with_headers(Authorization="Bearer nobody")
    yield "POST", path, other, good
    yield "POST", path, other, {**good, "content": b"{"}
    yield "POST", path, role, with_headers(Content_Type="text/plain")
    yield "POST", path, role, with_headers(Content_Encoding="gzip")
    yield "POST", path, role, {**good, "headers": {}}
    yield (
        "POST",
        path,
        role,
        {**good, "headers": [("Content-Type", "application/json"), *[("Idempotency-Key", "k")] * 2]},
    )
    yield "POST", path, role, {**with_headers(Idempotency_Key="two words"), "content": b'{"surplus": 1}'}
    yield "POST", path, role, {**with_headers(Idempotency_Key=""), "content": b"{}"}
    yield "POST", path, role, {**good, "content": b" " * (21 * 1024 * 1024)}
    yield "POST", path, role, {**good, "content": json.dumps({f"m{n}": n for n in range(50)}).encode()}
    yield "POST", path + "?surplus=1", role, {**good, "content": b"{}"}
    yield "POST", path + "/", role, good
    for method in ("PUT", "DELETE", "PATCH"):
        yield method, path, role, good
    for body in BODIES:
        yield "POST", path, role, {**good, "content": body}
    if "{" in template:
        yield "POST", path, role, good
        for wrong in ("0", "x", "7_0", "9007199254740992", "%20", "a%00b", "A"):
            bad = template.format(id=wrong, name=wrong)
            yield "POST", bad, role, good
            yield "POST", bad, role, {**with_headers(Idempotency_Key="two words"), "content": b'{"surplus": 1}'}


def answers(api: Api) -> dict[str, list[Any]]:
    """Return for each fault, in words, the answer: status, headers, body."""
    found: dict[str, list[Any]] = {}
    for write in WRITES:
        for number, (method, path, role, request) in enumerate(faults_of(write)):
            headers: Any = dict(request["headers"])
            if role is not None and isinstance(request["headers"], dict):
                headers["Authorization"] = f"Bearer {api.tokens[role]}"
            elif role is not None:
                headers = [*request["headers"], ("Authorization", f"Bearer {api.tokens[role]}")]
            response = api.client.request(method, api.base + path, headers=headers, content=request["content"])
            kept = {name: response.headers[name] for name in HEADERS if name in response.headers}
            found[f"{number} {method} {path} {role}"] = [response.status_code, kept, response.text]
    return found


def test_refusals_of_writes_answer_as_recorded(api: Api) -> None:
    """Each fault of each JSON write is answered with the recorded bytes, and nothing is recorded in the ledger."""
    with api.records_nothing():
        found = answers(api)
    recorded = {fault: answer for *answer, faults in json.loads(RECORDED.read_text("utf-8")) for fault in faults}
    assert found.keys() == recorded.keys()
    assert [(fault, found[fault], recorded[fault]) for fault in found if found[fault] != recorded[fault]] == []
