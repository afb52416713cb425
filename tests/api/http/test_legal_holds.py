"""Legal holds over HTTP: placed on a client or a case, released once, read as of any position."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.api.served import ASK, ASKS, Api, problem, served


@pytest.fixture(scope="module")
def held(module_ledger: str) -> Iterator[Api]:
    """A server with two clients, each with a request."""
    with served(module_ledger) as api:
        for client_id in ("client-1", "client-2"):
            assert api.call("POST", ASKS, "advisor", json={**ASK, "client_id": client_id}).status_code == 202
        yield api


def place(api: Api, client: int, **members: object) -> httpx.Response:
    """Place a hold as compliance."""
    return api.call("POST", f"/clients/{client}/legal-holds", "compliance", json={"reason": "inquiry", **members})


def test_a_hold_is_placed_and_released_once(held: Api) -> None:
    """The row says what the events say, also as of the position before the release; a second release is refused."""
    placed = place(held, 1, request_id=1)
    assert placed.status_code == 201
    hold = placed.json()["hold"]
    assert placed.json() == {"client": 1, "hold": hold}
    path = f"/legal-holds/{hold}"
    row = held.get(path).json()
    assert (row["client"], row["client_id"], row["request_id"], row["state"]) == (1, "client-1", 1, "active")
    assert row["reason"] == "inquiry"
    released = held.call("POST", f"{path}/releases", "compliance", json={"reason": "over"})
    assert released.status_code == 201
    event = released.json()["event"]
    assert released.json() == {"client": 1, "hold": hold, "event": event}
    row = held.get(path).json()
    assert (row["state"], row["released_by"], row["release_reason"]) == ("released", "compliance", "over")
    assert held.get(path, as_of=event - 1).json()["state"] == "active"
    assert [row["id"] for row in held.items("/legal-holds", client=1, state="released")] == [hold]
    with held.records_nothing():
        problem(
            held.call("POST", f"{path}/releases", "compliance", json={"reason": "again"}), 409, "legal-hold-released"
        )


def test_what_cannot_be_held_is_refused(held: Api) -> None:
    """An unknown client, a case of another client, a hold that never was, another role: nothing is recorded."""
    with held.records_nothing():
        problem(place(held, 99), 404, "client-unknown")
        problem(place(held, 1, request_id=2), 404, "request-unknown")
        problem(place(held, 1, request_id=99), 404, "request-unknown")
        problem(place(held, 1, reason=" "), 422, "invalid")
        release = held.call("POST", "/legal-holds/1/releases", "compliance", json={"reason": "r"})
        problem(release, 404, "legal-hold-unknown")
    problem(held.call("POST", "/clients/1/legal-holds", "advisor", json={"reason": "r"}), 403, "wrong-role")


def test_holds_of_a_merged_client_can_be_released(held: Api) -> None:
    """A hold stays where it was placed when its client is merged; a new one belongs on the client that remains."""
    for name in ("old", "new"):
        assert held.call("POST", "/clients", "compliance", json={"client_id": name}).status_code == 201
    old, new = (held.items("/clients", client_id=name)[0]["id"] for name in ("old", "new"))
    hold = place(held, old).json()["hold"]
    assert held.call("POST", f"/clients/{old}/merges", "compliance", json={"into": new}).status_code == 201
    with held.records_nothing():
        assert problem(place(held, old), 409, "client-merged")["merged_into"] == new
    assert [row["id"] for row in held.items("/legal-holds", client_id="new", state="active")] == [hold]
    released = held.call("POST", f"/legal-holds/{hold}/releases", "compliance", json={"reason": "over"})
    assert released.json()["client"] == old
