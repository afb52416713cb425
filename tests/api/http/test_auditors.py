"""An auditor reads events and proofs, and clients' data only where granted, for a limited time: as an examiner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from schema.events import SubjectRoleGranted, SubjectRoleRevoked
from tests.api.served import Api, problem
from tests.subjects import record, subject
from tests.support import eventually

LATER, PAST = "2100-01-01T00:00:00Z", "2020-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def clients(api: Api) -> Api:
    """A server whose auditor `vera` has no grant yet; clients 1 and 2 have a request each, with notes."""
    for name in ("ours", "theirs"):
        api.answered(api.asked(client_id=f"client-{name}", notes=f"notes of {name}"), prompt=f"prompt for {name}")
    api.tokens["vera"] = subject(api.url, "vera", "auditor")
    return api


def events(api: Api, who: str = "vera", **query: Any) -> list[dict[str, Any]]:
    """Return the first events that a search finds."""
    found: list[dict[str, Any]] = api.call("GET", "/events", who, params={"order": "oldest", **query}).json()["items"]
    return found


def opened(api: Api, who: str = "vera") -> Iterator[tuple[str | None, str]]:
    """Yield the client, as compliance knows it, and the state of each sealed field of a stream of a client."""
    for event in events(api, "compliance"):
        if event["client_id"] is not None:
            shown = api.call("GET", f"/events/{event['position']}", who, params={"as_of": event["position"]}).json()
            for field in shown["sealed"].values():
                assert (field["state"] == "shown") == (field["salt"] is not None) == (field["value"] is not None)
                yield event["client_id"], field["state"]


def examine(api: Api, until: str = LATER) -> None:
    """Let the auditor examine client 1, and wait until the server knows."""
    record(api.url, "vera", SubjectRoleGranted(role="examiner", until=until, clients=[1]))
    lasts = until == LATER
    eventually("the grant counts", lambda: ("examiner" in roles(api)) == lasts)


def roles(api: Api) -> list[str]:
    """Return the roles that the auditor has now."""
    return [row["role"] for row in api.call("GET", "/me", "vera").json()["roles"]]


def test_without_a_grant_no_value_of_a_client_is_shown(clients: Api) -> None:
    """Events have their commitments alone, searches no identifier; an identifier that exists is a 404 as another is."""
    assert {state for _, state in opened(clients)} == {"not-permitted"}
    assert {event["client_id"] for event in events(clients)} == {None}
    assert "client-ours" in {event["client_id"] for event in events(clients, "compliance")}
    for query in ({"client_id": "client-ours"}, {"client": 1}, {"client_id": "nobody"}, {"client": 999}):
        problem(clients.call("GET", "/events", "vera", params=query), 404, "client-unknown")
    for path in ("/clients/1", "/cases/1", "/portfolio/requests", "/model-calls", "/portfolio/requests/1/context"):
        problem(clients.call("GET", path, "vera"), 403, "wrong-role")


def test_a_grant_shows_its_clients_while_it_lasts(clients: Api) -> None:
    """Values, identifiers and cases of the client of the grant, of no other; and none any more after its end."""
    examine(clients)
    states = set(opened(clients))
    assert states == {("client-ours", "shown"), ("client-theirs", "not-permitted")}
    assert {event["client_id"] for event in events(clients)} == {None, "client-ours"}
    assert {event["client_id"] for event in events(clients, client=1)} == {"client-ours"}
    problem(clients.call("GET", "/events", "vera", params={"client": 2}), 404, "client-unknown")
    assert clients.call("GET", "/cases/1", "vera").status_code == 200  # as an examiner, without saying so
    problem(clients.call("GET", "/cases/2", "vera"), 404, "request-unknown")
    examine(clients, PAST)
    assert {state for _, state in opened(clients)} == {"not-permitted"}
    problem(clients.call("GET", "/cases/1", "vera"), 403, "wrong-role")


def test_a_grant_that_is_revoked_shows_nothing(clients: Api) -> None:
    """As one that has ended."""
    examine(clients)
    assert ("client-ours", "shown") in set(opened(clients))
    record(clients.url, "vera", SubjectRoleRevoked(role="examiner"))
    eventually("the revocation counts", lambda: {state for _, state in opened(clients)} == {"not-permitted"})
