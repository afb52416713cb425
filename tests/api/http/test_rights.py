"""Each route of the document lets through the roles that the access policy names, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute

from api.app import create_app
from api.http.auth.permissions import Permission
from api.services import Parts
from ledger.domain.access_policy import PERMISSIONS, READS_OF_CLIENTS, AccessPolicy
from ledger.domain.subject import ROLES
from tests.api.acting import Acting, second_tokens
from tests.api.http.test_routes import routes
from tests.api.served import Api, fields, problem
from tests.support import eventually

POLICY = AccessPolicy.load()


def permissions() -> dict[tuple[str, str], str]:
    """By method and path of each route that needs a token, the permission."""
    found: dict[tuple[str, str], str] = {}
    for route in routes(create_app(Parts("postgresql://nowhere")).routes):
        if isinstance(route, APIRoute):
            for needed in route.dependant.dependencies:
                if isinstance(needed.call, Permission):
                    found |= {(method, route.path): needed.call.action for method in route.methods or ()}
    return found


def operations(api: Api) -> Iterator[tuple[str, str]]:
    """Method and path of each operation of the OpenAPI document that needs a token."""
    for path, methods in api.get("/openapi.json", None).json()["paths"].items():
        for method, operation in methods.items():
            if "security" in operation:
                yield method.upper(), path


def filled(path: str) -> str:
    """A path of this template, of things that exist or could."""
    path = path.replace("/stream", "/stream?position_to=1")  # one that ends
    return re.sub(r"\{[^}]+\}", "1", path.replace("{report}", "override-rates"))


@pytest.mark.parametrize("role", ROLES)
def test_each_route_answers_each_role_as_the_policy_says(api: Api, role: str) -> None:
    """403 for the roles without the permission, whatever is asked; anything but 401 and 403 for the others."""
    api.asked()
    needed = permissions()
    asked = list(operations(api))
    assert set(asked) == needed.keys()
    for method, path in asked:
        response = api.call(method, filled(path), role, content=b"{}" if method == "POST" else None)
        if POLICY.scope(needed[method, path], role) is None:
            assert (response.status_code, "wrong-role" in response.text) == (403, True), (method, path)
        else:
            assert response.status_code not in {401, 403}, (method, path, response.text)


def test_every_permission_is_asked_for() -> None:
    """The policy has no permission that no route needs."""
    assert set(permissions().values()) == PERMISSIONS


@pytest.fixture(scope="module")
def acting(api: Api) -> Acting:
    """Requests with answers of two agents, whose calls hold a client's words."""
    second_tokens(api)
    return Acting(api)


def call_of(acting: Acting, role: str) -> tuple[int, int]:
    """Return request and id of a call that an agent made, with a secret in its question."""
    request = acting.api.asked(notes="has cancer")
    call = acting.started(request, role, input_messages=[f"secret of {role}"])
    assert acting.end(call, role=role, output_messages=["told"]).status_code == 201
    return request, call


def test_an_agent_reads_contexts_and_its_own_calls_and_nothing_else(acting: Acting) -> None:
    """F2: not one answer to an agent names a client, a decision, or what another agent asked its model."""
    api = acting.api
    request, own = call_of(acting, "agent")
    _, other = call_of(acting, "agent2")
    for path in ("/portfolio/requests", f"/portfolio/requests/{request}", "/recommendations", "/decisions", "/access"):
        found = api.get(path, "agent", **({"limit": 200} if path != f"/portfolio/requests/{request}" else {}))
        problem(found, 403, "wrong-role")
        assert "client-1" not in found.text
    context = api.get(f"/portfolio/requests/{request}/context", "agent")
    assert context.status_code == 200
    assert "client-1" not in context.text
    call = api.get(f"/model-calls/{own}", "agent").json()
    assert (call["started"]["input_messages"], call["client_id"]) == (["secret of agent"], None)
    assert api.get(f"/model-calls/{own}", "compliance").json()["client_id"] == "client-1"
    # Not 403: that would say which numbers are calls of others.
    hidden, nothing = api.get(f"/model-calls/{other}", "agent"), api.get("/model-calls/999999", "agent")
    assert problem(hidden, 404, "model-call-unknown") == problem(nothing, 404, "model-call-unknown")
    for how in ({}, {"agent": "agent"}, {"as_of": api.head()[0]}):
        calls: Any = api.get("/model-calls", "agent", **how).json()["items"]
        assert {(call["agent"], call["client_id"]) for call in calls} == {("agent", None)}
    # A filter by client would tell who is a client.
    for client_id in ("client-1", "stranger"):
        problem(api.get("/model-calls", "agent", client_id=client_id), 403, "wrong-role")
    problem(api.get("/model-calls", "agent", agent="agent2"), 403, "wrong-role")


def test_an_administrator_reads_no_clients_data(acting: Acting) -> None:
    """Security 2.2: rows, contexts and calls are refused to administrators; agents and proofs are not."""
    api = acting.api
    request, call = call_of(acting, "agent")
    needed = permissions()
    for (method, path), permission in needed.items():
        if method == "GET" and permission in READS_OF_CLIENTS:
            found = api.get(filled(path).replace("/1", f"/{call if 'model' in path else request}"), "admin")
            problem(found, 403, "wrong-role")
    assert api.get("/agents", "admin").status_code == 200


def test_a_suspended_agent_reads_nothing(acting: Acting) -> None:
    """F2: each route is a 403 `suspended`, but for those where the commands decide: an open call may still end."""
    api = acting.api
    assert acting.command("agent2", "suspensions").status_code == 201
    # A read is refused within a second.
    eventually("the suspension", lambda: api.get("/model-calls", "agent2").status_code == 403)
    for (method, path), permission in permissions().items():
        response = api.call(method, filled(path), "agent2", content=b"{}" if method == "POST" else None)
        if permission == "answer requests":
            assert response.status_code in {404, 409, 415, 422}, (method, path, response.text)
        else:
            assert (response.status_code, "/problems/suspended" in response.text) == (403, True), (method, path)
    refused = api.get("/access", "compliance", subject="agent2", action="refused").json()["items"]
    assert {"suspended"} == {item["reason"] for item in refused}
    assert acting.command("agent2", "resumptions", "compliance").status_code == 201


def test_every_route_that_reads_refuses_a_parameter_that_it_does_not_know(api: Api) -> None:
    """422 that names it, also on routes without any parameter; a misspelt filter must not find everything."""
    needed, asked = permissions(), 0
    for path, methods in api.get("/openapi.json", None).json()["paths"].items():
        if "get" in methods:
            permission = needed.get(("GET", path))
            roles = [role for role in ROLES if permission is None or POLICY.scope(permission, role) is not None]
            found = problem(api.get(filled(path), roles[0], misspelt="1"), 422, "invalid")
            assert "misspelt" in fields(found), (path, found)
            asked += 1
    assert asked > 40
