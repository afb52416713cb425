"""Many assignments in one request: all of them are recorded, or none, and each line that is wrong is named."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from tests.api.http.test_clients import listed, made, post
from tests.api.served import Api, fields, problem

NDJSON = {"Content-Type": "application/x-ndjson"}


def send(api: Api, *lines: bytes | dict[str, Any], role: str = "admin", **headers: str) -> httpx.Response:
    """Send lines as a batch."""
    body = b"\n".join(line if isinstance(line, bytes) else orjson.dumps(line) for line in lines)
    return api.call("POST", "/client-assignments", role, content=body, headers={**NDJSON, **headers})


@pytest.fixture(scope="module")
def clients(api: Api) -> tuple[int, int]:
    """Two clients: `one` and `two`."""
    return made(post(api, "", client_id="one")), made(post(api, "", client_id="two"))


def test_a_batch_is_recorded_once(api: Api, clients: tuple[int, int]) -> None:
    """By number or identifier, in normal form; sent again, it records nothing; a changed line alone is recorded."""
    first, second = clients
    batch: list[bytes | dict[str, Any]] = [
        {"client_id": "one", "subject": "ann"},
        {"client": second, "group": "zurich", "since": "2026-01-01T00:00:00Z"},
        b"",
        {"client": first, "group": "zurich"},
    ]
    before = api.commands()
    response = send(api, *batch)
    assert (response.status_code, response.json()) == (200, {"lines": 3, "assigned": 3})
    assert (int(response.headers["ledger-position"]), response.headers["ledger-hash"]) == api.head()
    assert api.commands() == before + 3
    assert listed(api, "/clients", group="zurich") == [second, first]
    with api.records_nothing():
        again = send(api, *batch, role="compliance")
        assert (again.json(), "ledger-position" in again.headers) == ({"lines": 3, "assigned": 0}, False)
    batch[1] = {"client_id": "two", "group": "zurich"}
    assert send(api, *batch).json() == {"lines": 3, "assigned": 1}


def test_one_bad_line_and_nothing_is_recorded(api: Api, clients: tuple[int, int]) -> None:
    """Each line that is wrong is named, by its form or by what the ledger has; values are not repeated."""
    first, second = clients
    alias = made(post(api, f"/{first}/aliases", client_id="uno"))
    good = {"client": first, "subject": "bob"}
    with api.records_nothing():
        formed = send(
            api,
            good,
            b"{",
            b"[]",
            {"subject": "bob"},
            {"client": first, "client_id": "one", "subject": "bob"},
            {"client": first},
            {"client": first, "subject": "bob", "since": "2026-02-30T00:00:00Z"},
            {"client": "secret", "subject": "bob"},
            {"client": first, "subject": "bob", "secret": 1},
            b'{"client_id": "' + b"x" * 20_000 + b'"}',
        )
        assert fields(problem(formed, 422, "invalid")) == [
            "line 2",
            "line 3",
            "line 4",
            "line 5",
            "line 6",
            "line 7: since",
            "line 8: client",
            "line 9: secret",
            "line 10",
        ]
        assert "bob" not in formed.text
        known = send(
            api,
            good,
            {"client_id": "nobody", "subject": "bob"},
            {"client": 999_999, "subject": "bob"},
            {"client": alias, "subject": "bob"},
            {"client_id": "one", "subject": "bob"},
        )
        assert fields(problem(known, 422, "invalid")) == [
            "line 5: client_id",
            "line 2: client_id",
            "line 3: client",
            "line 4: client",
        ]
        assert "nobody" not in known.text
        many = send(api, *[{"client": second, "subject": "x"}] * 1002)
        problem(many, 413, "too-large")
        problem(send(api, b" " * (1024 * 1024 + 1)), 413, "too-large")
        problem(send(api, good, **{"Content-Type": "application/json"}), 415, "not-json")
        problem(send(api, good, role="advisor"), 403, "wrong-role")
    assert send(api, *[{"client": first, "subject": f"s{number}"} for number in range(1000)]).json() == {
        "lines": 1000,
        "assigned": 1000,
    }
