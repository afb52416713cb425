"""Each route in order: 401, 403, 404 or 409 or 422, success; and that no route was left without a permission."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from api.app import create_app
from api.http.auth.permissions import Permission
from api.services import Parts
from ledger.domain.subject import ROLES
from tests.api.served import ANSWER, ASK, Api, fields, problem
from tests.subjects import revoke
from tests.support import connect

PUBLIC = {"/healthz", "/readyz", "/metrics", "/docs", "/docs/style.css", "/openapi.json", "/schemas", "/verify.html"}
PUBLIC |= {"/schemas/{event_type}", "/checkpoint", "/tile/{path:path}"}

READERS = {"advisor", "compliance"}
# Method, path, the roles that may.
ROUTES: list[tuple[str, str, set[str]]] = [
    ("POST", "/portfolio/recommendations", {"advisor"}),
    ("POST", "/portfolio/requests/1/recommendations", {"agent"}),
    ("GET", "/portfolio/requests", READERS),
    ("GET", "/portfolio/requests/1", READERS),
    ("GET", "/recommendations", READERS),
    ("GET", "/recommendations/1", READERS),
]
BODIES: dict[str, Any] = {"/portfolio/recommendations": ASK, "/portfolio/requests/1/recommendations": ANSWER}


def routes(found: list[BaseRoute]) -> Iterator[BaseRoute]:
    """All routes, those of included routers too."""
    for route in found:
        router = getattr(route, "original_router", None)
        if router is None:
            yield route
        else:
            yield from routes(router.routes)


def test_every_route_but_the_public_ones_has_a_permission() -> None:
    """Walks the application: a route is on the public list, or a Permission stands in its signature."""
    app = create_app(Parts("postgresql://nowhere"))
    found = {path: route for route in routes(app.routes) if (path := getattr(route, "path", None))}
    assert found.keys() >= PUBLIC | {"/portfolio/requests", "/recommendations/{recommendation_id}"}
    for path, route in found.items():
        if path in PUBLIC:
            continue
        assert isinstance(route, APIRoute), path
        permissions = [needed.call for needed in route.dependant.dependencies if isinstance(needed.call, Permission)]
        assert len(permissions) == 1, path


@pytest.mark.parametrize(("method", "path", "roles"), ROUTES)
def test_callers_without_a_token_get_401(api: Api, method: str, path: str, roles: set[str]) -> None:
    """No token, another scheme, an empty or an unknown token: 401 and a challenge, before anything else."""
    for header in (None, "", "Basic YTpi", "Bearer", "Bearer nobody", "bearer \xe9\xff", "nobody"):
        headers = {} if header is None else {"Authorization": header.encode("latin-1")}
        with api.records_nothing():
            response = api.call(method, path, None, headers=headers, content=b"{not json")
        slug = "unknown-token" if header and header.lower().startswith("bearer ") and header[7:] else "no-token"
        problem(response, 401, slug)
        assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path", "roles"), ROUTES)
def test_several_authorization_headers_are_refused(api: Api, method: str, path: str, roles: set[str]) -> None:
    """Two tokens, also two that are the same or one that is empty: 401 by name, and nobody is taken for the caller."""
    token = f"Bearer {api.tokens[min(roles)]}"
    for other in (token, f"Bearer {api.tokens['admin']}", "Basic YTpi", ""):
        headers = [("Authorization", token), ("Authorization", other)]
        with api.records_nothing():
            response = api.client.request(method, api.base + path, headers=headers, content=b"{}")
        problem(response, 401, "several-tokens")
        assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path", "roles"), ROUTES)
def test_other_roles_get_403(api: Api, method: str, path: str, roles: set[str]) -> None:
    """Each role that may not gets a 403 that names those that may, whatever the body; nothing is recorded."""
    for role in set(ROLES) - roles:
        for body in (b'{"a":', b"{}"):
            with api.records_nothing():
                found = problem(api.call(method, path, role, content=body), 403, "wrong-role")
            assert all(name in found["detail"] for name in {role, *roles})


@pytest.mark.parametrize(("method", "path", "roles"), [route for route in ROUTES if route[0] == "GET"])
def test_people_may_read(api: Api, method: str, path: str, roles: set[str]) -> None:
    """Reading cases is for advisors and compliance."""
    api.asked()
    for role in roles:
        assert api.call(method, path, role).status_code in {200, 404}


def test_a_request_from_the_first_to_its_recommendation(fresh_api: Api) -> None:
    """The main path: 202 with request 1, Location, position and hash as in the database; the answer; both read back."""
    first = fresh_api.head()[0] + 2  # the client comes first
    asked = fresh_api.ask(horizon_years=10, objectives=["a house"], constraints={"min_cash": "0.05"}, notes="soon")
    assert (asked.status_code, asked.json()) == (202, {"request_id": 1, "status": "queued"})
    assert (
        (int(asked.headers["ledger-position"]), asked.headers["ledger-hash"])
        == fresh_api.head()
        == (first, mark(asked))
    )
    location = asked.headers["location"]
    assert location == "/portfolio/requests/1"
    row = fresh_api.get(location).json()
    assert row.pop("created_at") == row.pop("updated_at")
    assert row == {
        "id": 1,
        "client_id": "client-1",
        "risk_profile": "balanced",
        "amount_usd": "250000.50",
        "horizon_years": 10,
        "objectives": ["a house"],
        "constraints": {"exclude_asset_classes": [], "min_cash": "0.05"},
        "notes": "soon",
        "imported": False,
        "portfolio": None,
        "status": "queued",
        "recommendation_id": None,
        **dict.fromkeys(("withdrawal_id", "withdrawn_at", "withdrawn_by", "withdrawal_reason")),
        **dict.fromkeys(("withdrawal_rationale", "replaced_by")),
        "failure_reason": None,
        "failure_detail": None,
        "requested_by": "advisor",
    }

    answered = fresh_api.answer(1, model_version="7", parameters={"temperature": 0.5}, prompt="What now?")
    # The next position is the record that compliance read the request.
    assert (answered.status_code, answered.json()) == (201, {"recommendation_id": first + 2, "request_id": 1})
    assert fresh_api.head() == (first + 2, mark(answered)) == (int(answered.headers["ledger-position"]), mark(answered))
    assert answered.headers["location"] == f"/recommendations/{first + 2}"
    made = fresh_api.get(f"/recommendations/{first + 2}").json()
    recorded_at = made.pop("created_at")
    assert (made.pop("updated_at"), made.pop("state")) == (recorded_at, "proposed")
    with connect(fresh_api.url) as conn:
        sealed = conn.execute(
            "SELECT body::json->'sealed'->>'recommendation' FROM events WHERE position = %s", [first + 2]
        ).fetchall()
    assert [(made.pop("digest"),)] == sealed
    assert made.pop("salts").keys() == {"recommendation"}
    assert {name: value for name, value in made.items() if value is not None} == {
        "id": first + 2,
        "request_id": 1,
        "client_id": "client-1",
        "requested_by": "advisor",
        "risk_profile": "balanced",
        "amount_usd": "250000.50",
        "declines": 0,
        **ANSWER,
        "model_version": "7",
        "parameters": {"temperature": 0.5},
        "prompt": "What now?",
        "agent": "agent",
    }
    after = fresh_api.get(location).json()
    assert (after["status"], after["recommendation_id"]) == ("recommended", first + 2)
    assert after["created_at"] < after["updated_at"] == recorded_at


def mark(response: Any) -> str:
    """The hash that a write was answered with."""
    found: str = response.headers["ledger-hash"]
    return found


def test_the_actor_is_the_token(api: Api) -> None:
    """Every event carries the caller as its actor, from the token and from nowhere else."""
    request_id = api.asked()
    api.answered(request_id)
    with connect(api.url) as conn:
        actors = conn.execute(
            "SELECT body::json->'actor' FROM events WHERE stream = %s ORDER BY version", [f"request-{request_id}"]
        ).fetchall()
    assert actors == [
        ({"id": "advisor", "kind": "human", "role": "advisor", "credential": 1},),
        ({"id": "agent", "kind": "agent", "role": "agent", "credential": 1},),
    ]
    with api.records_nothing():
        problem(api.ask(actor={"id": "somebody"}), 422, "invalid")


def test_what_is_not_there_is_404(api: Api) -> None:
    """Ids that nothing has, in reading and in answering, get a 404 of their own type."""
    unknown = 2**53 - 1
    api.asked()
    problem(api.get(f"/portfolio/requests/{unknown}"), 404, "request-unknown")
    problem(api.get(f"/recommendations/{unknown}"), 404, "recommendation-unknown")
    problem(api.get("/recommendations/1"), 404, "recommendation-unknown")  # an event, and no recommendation
    problem(api.get("/schemas/nothing.known", None), 404, "event-type-unknown")
    problem(api.get("/no/such/path", None), 404, "not-found")
    problem(api.get("/portfolio/requests/"), 404, "not-found")
    with api.records_nothing():
        problem(api.answer(unknown), 404, "request-unknown")


def test_other_methods_get_405(api: Api) -> None:
    """A method that a path does not have gets a 405 that says which it has."""
    for method in ("DELETE", "PUT", "PATCH", "OPTIONS"):
        response = api.call(method, "/portfolio/recommendations")
        problem(response, 405, "method-not-allowed")
        assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("value", ["0", "-1", "1.0", "1e3", "1_0", "+1", "%201", "abc", "٣", str(2**53), str(10**30)])
@pytest.mark.parametrize("path", ["/portfolio/requests/{}", "/recommendations/{}"])
def test_what_is_no_id_is_422(api: Api, path: str, value: str) -> None:
    """An id is plain digits from 1 to 2^53 - 1; others are refused by the parameter's name."""
    found = problem(api.get(path.format(value)), 422, "invalid")
    assert fields(found) in (["request_id"], ["recommendation_id"])


def test_a_finished_request_takes_no_other_answer(api: Api) -> None:
    """The second answer is a 409 with a type of its own, and is not recorded."""
    request_id = api.asked()
    first = api.answered(request_id)
    with api.records_nothing():
        found = problem(api.answer(request_id, model_name="model-b"), 409, "request-finished")
    assert "proposed" in found["detail"]
    assert api.get(f"/portfolio/requests/{request_id}").json()["recommendation_id"] == first


def test_a_revoked_token_ends_within_a_second(fresh_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that worked gets 401 once CACHE_S have passed, and a token of another role keeps working."""
    from api.callers import CACHE_S

    assert fresh_api.ask().status_code == 202
    revoke(fresh_api.url, "advisor")
    assert CACHE_S <= 1
    monkeypatch.setattr("api.callers.monotonic", lambda: monotonic() + CACHE_S)
    with fresh_api.records_nothing():
        problem(fresh_api.ask(), 401, "unknown-token")
    assert fresh_api.get("/portfolio/requests").status_code == 200
