"""Bytes that nobody should send: a problem that names the member, nothing recorded, and never a 5xx."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from api.http.body_limit import MAX_REQUEST_BYTES
from api.http.json_body import USUAL
from tests.api.served import ANSWER, ASK, ASKS, Api, fields, problem, send


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    """JSON that is nested so deep."""
    return opening * depth + closing * depth


NOT_JSON = [
    ("{", "body"),
    ("", "body"),
    ("nothing", "body"),
    ("{'client_id': 1}", "body"),
    ('{"client_id": "c",}', "client_id"),
    ('{"client_id": "c"} {}', "body"),
    ('\ufeff{"client_id": "c"}', "body"),
    ('{"client_id": "c", "amount_usd": NaN}', "amount_usd"),
    ('{"client_id": "c", "amount_usd": Infinity}', "amount_usd"),
    ('{"client_id": "c", "amount_usd": -Infinity}', "amount_usd"),
    ('{"client_id": "c", "amount_usd": 1e400}', "amount_usd"),
    ('{"client_id": "c", "amount_usd": ' + "9" * 400 + "}", "amount_usd"),
    ('{"client_id": "c", "amount_usd": 01}', "amount_usd"),
    ('{"client_id": "c", "notes": "\\ud800"}', "notes"),
    ('{"client_id": "c", "notes": "a, b: {\\" \\udc00 x"}', "notes"),
    ('{"client_id": "\\ud800", "notes": "x"}', "client_id"),
    ('{"client_id": "a\nb"}', "client_id"),
    ('{"objectives": ["fine", {"x": "\\ud800"}]}', "objectives"),
    ('{"\\ud800": 1}', "body"),
    ('{"notes": "x", "objectives": ' + nested(2_000) + "}", "objectives"),
    ('{"notes": "x", "objectives": ' + nested(100_000) + "}", "objectives"),
    ('{"notes": "x", "objectives": ' + "[" * 100_000, "objectives"),
    (nested(100_000), "body"),
    (nested(100_000, '{"a":', "}"), "a"),
]


@pytest.mark.parametrize(("body", "field"), NOT_JSON, ids=range(len(NOT_JSON)))
def test_what_is_not_json(api: Api, body: str, field: str) -> None:
    """Malformed JSON, NaN, infinities, lone surrogates and bottomless nesting: 400, with the member that it is in."""
    with api.records_nothing():
        response = send(api, ASKS, body)
    assert fields(problem(response, 400, "malformed-json")) == [field]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"client_id": "c", "notes": "\xff"}', "notes"),
        (b'{"client_id": "\xed\xa0\x80"}', "client_id"),
        (b'{"\xff": 1}', "body"),
        (b"\xff\xfe{\x00}\x00", "body"),
        (json.dumps(ASK).encode("utf-16"), "body"),
    ],
)
def test_what_is_not_utf_8(api: Api, body: bytes, field: str) -> None:
    """Bytes that are not UTF-8, surrogates among them: 400, with the member that they are in."""
    with api.records_nothing():
        response = send(api, ASKS, body)
    assert fields(problem(response, 400, "malformed-json")) == [field]


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jso"],
)
def test_other_content_types(api: Api, content_type: str | None) -> None:
    """A body that does not say it is JSON is a 415, however well-formed."""
    with api.records_nothing():
        problem(send(api, ASKS, json.dumps(ASK), content_type), 415, "not-json")


@pytest.mark.parametrize("content_type", ["APPLICATION/JSON", "application/json;charset=utf-8", "application/x.y+json"])
def test_kinds_of_json(api: Api, content_type: str) -> None:
    """The media types of JSON are all taken."""
    assert send(api, ASKS, json.dumps(ASK), content_type).status_code == 202


def chunks(size: int) -> Iterator[bytes]:
    """A body of unknown length."""
    for _ in range(size // 65536 + 1):
        yield b" " * 65536


@pytest.mark.parametrize("most", [MAX_REQUEST_BYTES, USUAL.size])
@pytest.mark.parametrize("announced", [True, False])
def test_a_body_beyond_the_limit(api: Api, announced: bool, most: int) -> None:
    """A body that is too large is a 413, with an announced length or without, at each of the two limits."""
    path = ASKS if most == USUAL.size else "/portfolio/requests/1/model-calls"
    with api.records_nothing():
        body = b" " * (most + 1) if announced else chunks(most)
        response = send(api, path, body)
    found = problem(response, 413, "too-large")
    assert str(most) in found["detail"]


def test_a_body_at_the_limit_is_read(api: Api) -> None:
    """White space up to the limit is no reason for a refusal."""
    body = json.dumps(ASK).encode().ljust(USUAL.size)
    assert send(api, ASKS, body).status_code == 202
    answer = json.dumps(ANSWER).encode().ljust(MAX_REQUEST_BYTES)
    assert send(api, f"/portfolio/requests/{api.asked()}/recommendations", answer).status_code == 201


def raw(api: Api, request: bytes, *, hang_up: bool = False) -> bytes:
    """The server's answer to these bytes, until it closes or pauses."""
    host, _, port = api.base.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=0.5) as conn:
        conn.sendall(request)
        if hang_up:
            return b""
        answer = b""
        try:
            while part := conn.recv(65536):
                answer += part
        except TimeoutError:
            pass
        return answer


def head_of(api: Api, path: str = ASKS, *more: bytes) -> bytes:
    """The first lines of a request as the advisor."""
    token = api.tokens["advisor"].encode()
    lines = [b"POST " + path.encode() + b" HTTP/1.1", b"Host: x", b"Authorization: Bearer " + token]
    return b"\r\n".join([*lines, b"Content-Type: application/json", *more]) + b"\r\n"


def test_a_caller_that_hangs_up_records_nothing(api: Api) -> None:
    """A connection that is closed in the middle of a body records nothing and harms nobody."""
    with api.records_nothing():
        raw(api, head_of(api, ASKS, b"Content-Length: 1000") + b'\r\n{"client_id": "c"', hang_up=True)
        raw(api, head_of(api, ASKS, b"Transfer-Encoding: chunked") + b"\r\n5\r\n{", hang_up=True)
    assert api.ask().status_code == 202


@pytest.mark.parametrize(
    "more",
    [
        b"Content-Length: -1",
        b"Content-Length: 1_0",
        b"Content-Length: 99999999999999999999",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Idempotency-Key: \xff\xfe",
        b"Idempotency-Key: a\x00b",
        b"Content-Length: 2\r\nContent-Type: \xff",
        b"Content-Length: 2\r\nContent-Type: application/json\r\n\r\n\xff\xff",
        b"X: " + b"y" * 70_000,
    ],
)
def test_headers_that_no_client_sends(api: Api, more: bytes) -> None:
    """Malformed lengths, and bytes in headers that are not text: refused by server or application, with a 4xx."""
    with api.records_nothing():
        answer = raw(api, head_of(api, ASKS, more) + b"\r\n{}")
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer
    assert api.get("/healthz", None).status_code == 200


@pytest.mark.parametrize("query", ["client_id=%ff", "client_id=%00", "client_id=%ed%a0%80", "cursor=%ff", "as_of=%ff"])
def test_queries_that_are_not_utf_8(api: Api, query: str) -> None:
    """A value in a query that is not text is a 422 by name, not a search for something else."""
    response = api.call("GET", f"/portfolio/requests?{query}", "compliance")
    assert fields(problem(response, 422, "invalid")) == [query.partition("=")[0]]


@pytest.mark.parametrize(
    "path", ["/portfolio/requests/%ff", "/recommendations/%00", "/schemas/%ff", "/%ff", "//", "/%2e%2e"]
)
def test_paths_that_are_not_utf_8(api: Api, path: str) -> None:
    """A path that is not text leads nowhere, without a 5xx."""
    assert api.call("GET", path, "compliance").status_code in {404, 422}


@pytest.mark.parametrize("query", ["%ff=1", "%00=1", "x[]=1", "=1"])
def test_query_names_that_nobody_knows(api: Api, query: str) -> None:
    """An unknown name in a query is a 422."""
    problem(api.call("GET", f"/recommendations?{query}", "compliance"), 422, "invalid")
