"""Bodies with a million members: refused before anything is built from them, by name, while others are served."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable

import pytest

from api.http.json_body import LARGE, USUAL
from api.http.problems import MAX_ERRORS
from api.json_members import has_more_members
from tests.api.served import ASK, ASKS, Api, fields, problem, read_beside, send

MILLION = 1_000_000
CALLS = "/portfolio/requests/1/model-calls"
MANY: dict[str, Callable[[int], bytes]] = {
    "members": lambda count: b"{" + b",".join(b'"%d":1' % number for number in range(count)) + b"}",
    "items": lambda count: b'{"objectives":[' + b",".join([b'""'] * count) + b"]}",
    "objects": lambda count: b'{"shown":[' + b",".join([b"{}"] * count) + b"]}",
}


@pytest.mark.parametrize("path", [ASKS, CALLS])
@pytest.mark.parametrize("kind", MANY)
def test_a_million_members_are_refused_for_little_more_than_their_bytes(api: Api, path: str, kind: str) -> None:
    """A body with far more members than a command has is refused, and costs little more than its bytes."""
    body = MANY[kind](100_000 if path == ASKS else MILLION)
    with api.records_nothing():
        response = send(api, path, body)
    slug = "invalid" if len(body) <= USUAL.size or path == CALLS else "too-large"
    found = problem(response, 422 if slug == "invalid" else 413, slug)
    assert slug == "too-large" or "members" in found["detail"]


def test_counting_builds_nothing() -> None:
    """The count takes no memory to speak of, whatever is in the body."""
    bodies = [make(MILLION) for make in MANY.values()]
    tracemalloc.start()
    assert all(has_more_members(body, LARGE.members) for body in bodies)
    assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("body", "commas"),
    [("{}", 0), ('{"a,":1}', 0), ('{"a":[1,"\\",,",{"b":2,"c":"\\\\"},3]}', 4), ('"' + "," * 9000, 0), ("[1,2", 1)],
)
def test_commas_in_strings_do_not_count(body: str, commas: int) -> None:
    """The members of a body are told from the text in it, also in a body that is cut off."""
    assert not has_more_members(body.encode(), commas + 1)
    assert not commas or has_more_members(body.encode(), commas)


def test_unknown_members_are_named_up_to_a_number(api: Api) -> None:
    """The first unknown members are named, beside what else is wrong; the others take no part."""
    many = {f"unknown-{number}": number for number in range(USUAL.members - 10)}
    found = problem(send(api, ASKS, json.dumps(many | ASK | {"amount_usd": "x"})), 422, "invalid")
    assert len(found["errors"]) == MAX_ERRORS
    assert fields(found)[0] == "amount_usd"
    assert fields(found)[1:3] == ["unknown-0", "unknown-1"]


def test_others_are_served_meanwhile(api: Api) -> None:
    """While such bodies come in, another caller's reads are answered within a second."""
    body = MANY["members"](MILLION)
    for response in read_beside(api, *[lambda: send(api, CALLS, body)] * 3):
        assert "members" in problem(response, 422, "invalid")["detail"]


def test_a_compressed_body_is_refused_by_name(api: Api) -> None:
    """Content-Encoding is a 415 that says so, not malformed JSON."""
    response = api.call("POST", ASKS, json=ASK, headers={"Content-Encoding": "gzip"})
    assert "Content-Encoding" in problem(response, 415, "not-json")["detail"]
