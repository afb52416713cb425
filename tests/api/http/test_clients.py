"""Clients over HTTP: found under each of their identifiers, by number or prefix; changes by those who may."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.client import Registration
from projections.clients.model import prefix_range
from schema.clients import ClientAssigned
from tests.api.served import Api, fields, problem, served
from tests.support import connect


def post(api: Api, path: str, role: str = "compliance", key: str | None = None, **body: Any) -> httpx.Response:
    """Send a command about clients."""
    headers = {} if key is None else {"Idempotency-Key": key}
    return api.call("POST", f"/clients{path}", role, json=body, headers=headers)


def made(response: httpx.Response) -> int:
    """Return the number of the client that was registered."""
    assert response.status_code == 201, response.text
    number: int = response.json()["client"]
    return number


def listed(api: Api, path: str, column: str = "id", **parameters: Any) -> list[Any]:
    """Return a column of the rows of a list."""
    response = api.call("GET", path, "compliance", params=parameters)
    assert response.status_code == 200, response.text
    return [row[column] for row in response.json()["items"]]


def test_merged_histories_are_found_under_all_names(fresh_api: Api) -> None:
    """Lists by client find what belongs to its aliases and to all that were merged, each under its own name."""
    api = fresh_api
    first, second, other = (api.ask(client_id=name).json()["request_id"] for name in ("a", "b", "c"))
    before = api.head()[0]
    alias = made(post(api, "/1/aliases", client_id="a2"))
    third = api.ask(client_id="a2").json()["request_id"]
    assert post(api, "/1/merges", into=2).status_code == 201
    for name in ("a", "a2", "b"):
        assert listed(api, "/portfolio/requests", client_id=name) == [third, second, first]
        assert listed(api, "/clients", client_id=name) == [alias, 2, 1]
    assert listed(api, "/portfolio/requests", client_id="c") == [other]
    assert listed(api, "/portfolio/requests", client_id="a", as_of=before) == [first]
    assert listed(api, "/portfolio/requests", client_id="b", as_of=before) == [second]
    assert listed(api, "/portfolio/requests", client_id="a2", as_of=before) == []
    names = api.call("GET", "/clients/2", "compliance").json()["names"]
    assert [(one["client"], one["client_id"]) for one in names] == [(1, "a"), (2, "b"), (alias, "a2")]


def test_an_agent_is_shown_the_history_of_all_names(fresh_api: Api) -> None:
    """Earlier recommendations of aliases and of merged clients are in the context, the newest first, as known then."""
    api = fresh_api
    requests = [api.asked(client_id=name) for name in ("a", "b", "c")]
    answers = [api.answered(request_id) for request_id in requests]
    before = api.head()[0]
    made(post(api, "/1/aliases", client_id="a2"))
    aliased = api.asked(client_id="a2")
    answers.append(api.answered(aliased))
    assert post(api, "/1/merges", into=2).status_code == 201
    new = api.asked(client_id="b")

    def earlier(request_id: int, **how: Any) -> list[int]:
        context = api.get(f"/portfolio/requests/{request_id}/context", "agent", **how)
        assert context.status_code == 200, context.text
        return [row["id"] for row in context.json()["earlier"]]

    for request_id in (*requests[:2], aliased, new):
        assert earlier(request_id) == [answers[3], answers[1], answers[0]]
    assert earlier(requests[2]) == [answers[2]]
    assert earlier(requests[0], as_of=before) == [answers[0]]


@pytest.mark.parametrize("path", ["/portfolio/requests", "/recommendations", "/decisions", "/model-calls", "/clients"])
def test_a_client_that_never_was_is_404(api: Api, path: str) -> None:
    """An identifier that the ledger never had is not an empty list, so a slip of the pen is seen."""
    api.ask(client_id="known")
    assert api.call("GET", path, "compliance", params={"client_id": "known"}).status_code == 200
    with api.records_nothing():
        problem(api.call("GET", path, "compliance", params={"client_id": "Known"}), 404, "client-unknown")


def test_clients_are_found_by_what_they_begin_with(fresh_api: Api) -> None:
    """A prefix finds what begins with it and nothing else, also beyond ASCII, in normal form; none is an empty list."""
    names = ["ab", "abc", "ab c", "aB", "b", "é", "éa", "a%b", "a_b"]
    numbers = {name: made(post(fresh_api, "", client_id=name)) for name in names}
    for prefix in ("a", "ab", "ab ", "b", "e\u0301", "a%", "a_", "nobody"):
        normal = prefix.replace("e\u0301", "é")
        expected = sorted((numbers[name] for name in names if name.startswith(normal)), reverse=True)
        assert listed(fresh_api, "/clients", prefix=prefix) == expected
    assert listed(fresh_api, "/clients", "client_id", prefix="ab", limit=2) == ["ab c", "abc"]


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=4), st.text(st.characters(codec="utf-8"), max_size=6))
def test_a_prefix_is_a_range(prefix: str, name: str) -> None:
    """In the order of code points, what begins with a text is what is in its range."""
    bounds = prefix_range(prefix)
    upper = bounds.get("prefix_to")
    assert (str(bounds["prefix_from"]) <= name and (upper is None or name < str(upper))) == name.startswith(prefix)
    whole = prefix + name
    assert str(bounds["prefix_from"]) <= whole
    assert upper is None or whole < str(upper)


def test_assignments_over_http(api: Api) -> None:
    """An assignment is recorded in UTC, shown, found by subject and group, ended, and refused if it changes nothing."""
    number = made(post(api, "", "admin", client_id="to assign"))
    path = f"/{number}/assignments"
    times = {"since": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"}
    assert post(api, path, "admin", subject="ann", **times).status_code == 201
    assert post(api, path, "admin", group="zurich").status_code == 201
    row = api.call("GET", f"/clients/{number}", "compliance").json()
    assert [(one["subject"], one["group"], one["since"]) for one in row["assignments"]] == [
        ("ann", None, times["since"]),
        (None, "zurich", None),
    ]
    assert listed(api, "/clients", subject="ann") == listed(api, "/clients", group="zurich") == [number]
    with api.records_nothing():
        problem(post(api, path, "admin", subject="ann", **times), 409, "already-assigned")
        problem(post(api, path, "admin", subject="ann", group="zurich"), 422, "invalid")
        problem(post(api, path, "admin", subject="ann", since="2026-02-30T00:00:00Z"), 422, "invalid")
        problem(post(api, path, "admin", subject="ann", since=times["until"], until=times["since"]), 422, "invalid")
        problem(post(api, f"/{number}/unassignments", "admin", subject="bob"), 409, "not-assigned")
        problem(post(api, "/999999/assignments", "admin", subject="bob"), 404, "client-unknown")
    assert post(api, f"/{number}/unassignments", "admin", subject="ann").status_code == 201
    assert listed(api, "/clients", subject="ann") == []


def test_who_registers_again_learns_the_number(api: Api) -> None:
    """A second registration names the client; the first one, sent again with its key, gets its first answer."""
    first = post(api, "", "advisor", key="one", client_id=" e\u0301 x".strip())
    number = made(first)
    with api.records_nothing():
        assert made(post(api, "", "advisor", key="one", client_id="é x")) == number
        again = post(api, "", client_id="é x")
        problem(again, 409, "client-registered")
        assert again.json()["client"] == number
        problem(post(api, "", client_id=" é x"), 422, "invalid")


def test_agents_and_administrators_read_no_clients(api: Api) -> None:
    """An agent sees requests without their clients, so it cannot look clients up; an administrator only assigns."""
    for role in ("agent", "admin"):
        problem(api.call("GET", "/clients", role), 403, "wrong-role")
        problem(api.call("GET", "/clients/1", role), 403, "wrong-role")


def test_no_identifier_is_in_a_path_or_in_clear(api: Api) -> None:
    """Location has the number; the event has a commitment."""
    response = post(api, "", client_id="Jane Doe")
    assert response.headers["location"] == f"/clients/{made(response)}"
    with connect(api.url) as conn:
        assert conn.execute("SELECT count(*) FROM events WHERE body LIKE '%Jane Doe%'").fetchall() == [(0,)]


def test_times_compare_as_texts() -> None:
    """Times of assignments have one form, so that their texts compare as they do."""
    with pytest.raises(ValueError, match="since"):
        ClientAssigned(subject="ann", since="2026-01-01T00:00:00+00:00")


def test_a_server_may_take_only_clients_that_were_registered_in_its_form(api: Api) -> None:
    """A request for an unknown identifier is refused by name and registers nothing; nor is another form registered."""
    strict = Registration("beforehand", re.compile(r"C-[0-9]{6}"))
    with served(api.url, tokens=api.tokens, registration=strict) as found:
        with api.records_nothing():
            problem(found.ask(client_id="C-000001"), 409, "client-not-registered")
            for client_id in ("C-1", "C-0000011", " C-000001x"):
                refused = found.call("POST", "/clients", "compliance", json={"client_id": client_id})
                assert fields(problem(refused, 422, "invalid")) == ["client_id"]
        made = found.call("POST", "/clients", "compliance", json={"client_id": "C-000001"})
        assert made.status_code == 201
        assert found.ask(client_id="C-000001").status_code == 202
