"""A role that may read events, and of clients the assigned ones alone, learns no other client from any form of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from api.services import services_of
from ledger.domain.access_policy import AccessPolicy, Scope
from ledger.domain.event_rights import permission_of
from schema.events import SubjectRoleGranted
from tests.api.acting import Acting, second_tokens
from tests.api.following import followed
from tests.api.http.test_scopes import Case, make_case
from tests.api.served import Api, problem, served
from tests.subjects import record, subject
from tests.support import eventually

PACKAGED = AccessPolicy.load()
LIMITABLE = ("read clients", "read cases", "read model calls")
REACHES: tuple[Scope | None, ...] = (None, "assigned", "all")
OWN, THEIRS = "client-own", "client-theirs"
FORMS = ("text/csv", "application/x-ndjson", "application/cloudevents-batch+json")
LATER = "2100-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def scoped(module_ledger: str) -> Iterator[tuple[Api, Case, Case]]:
    """A server with a case of each advisor, and with an auditor who examines the client of the second one."""
    with served(module_ledger) as api:
        second_tokens(api)
        acting = Acting(api)
        own, theirs = make_case(acting, "advisor", OWN, "own"), make_case(acting, "advisor2", THEIRS, "their")
        api.tokens["vera"] = subject(api.url, "vera", "auditor")
        record(api.url, "vera", SubjectRoleGranted(role="examiner", until=LATER, clients=[theirs.client]))
        eventually("the grant counts", lambda: len(api.call("GET", "/me", "vera").json()["roles"]) == 2)
        yield api, own, theirs


def under(api: Api, role: str, reaches: dict[str, Scope | None]) -> None:
    """Let the server go on under a policy that lets `role` read events, and the rest as far as `reaches` says."""
    permissions = {name: dict(roles) for name, roles in PACKAGED.permissions.items()}
    wanted: dict[str, Scope | None] = {"read events": "all", "read subjects": "all", "read agents": "all", **reaches}
    for name, reach in wanted.items():
        permissions[name].pop(role, None)
        if reach is not None:
            permissions[name][role] = reach
    policy = replace(PACKAGED, permissions=permissions)
    api.app.state.services = replace(services_of(api.app), access_policy=policy)


def found(api: Api, who: str, **query: Any) -> list[dict[str, Any]]:
    """Return the events that a search finds, up to the last of the cases."""
    items: list[dict[str, Any]] = api.call("GET", "/events", who, params={"limit": 200, **query}).json()["items"]
    return items


@pytest.mark.parametrize("reaches", list(itertools.product(REACHES, repeat=3)), ids=str)
def test_events_show_what_the_role_may_see_of_their_client(
    scoped: tuple[Api, Case, Case], reaches: tuple[Scope | None, ...]
) -> None:
    """Under each policy: identifiers by the reach of `read clients`, sealed values by that of their own permission."""
    api, own, theirs = scoped
    reach = dict(zip(LIMITABLE, reaches, strict=True))
    upto = api.head()[0]
    owners = {event["position"]: event["client_id"] for event in found(api, "compliance", as_of=upto)}
    assert {OWN, THEIRS} < set(owners.values())
    under(api, "advisor", reach)
    known = {"all": {OWN, THEIRS}, "assigned": {OWN}, None: set()}[reach["read clients"]]
    for event in found(api, "advisor", as_of=upto):
        owner = owners[event["position"]]
        assert event["client_id"] == (owner if owner in known else None)
        shown = api.call("GET", f"/events/{event['position']}", "advisor").json()
        may = {"all": True, "assigned": owner == OWN, None: False, "own": False}
        permission = permission_of(event["stream"], event["type"])
        permitted = may[reach.get(permission, "all")]
        assert {one["state"] for one in shown["sealed"].values()} <= {"shown" if permitted else "not-permitted"}
    for query in ({"client": theirs.client}, {"client_id": THEIRS}):
        answer = api.call("GET", "/events", "advisor", params=query)
        if THEIRS in known:
            assert answer.json()["items"]
        else:
            problem(answer, 404, "client-unknown")
    assert bool(OWN in known) == (api.call("GET", "/events", "advisor", params={"client": own.client}).is_success)
    texts = [api.call("GET", "/events", "advisor", headers={"Accept": form}).text for form in FORMS]
    texts += [str(message.data) for message in followed(api, "advisor", as_of=upto)]
    assert any(THEIRS in text for text in texts) == (THEIRS in known)
    words = api.call("GET", "/events", "advisor", params={"text": "rationale"})
    if set(reaches) == {"all"}:
        assert words.json()["items"]
    else:
        problem(words, 403, "wrong-role")


@pytest.mark.parametrize("reaches", list(itertools.product(REACHES[1:], repeat=3)), ids=str)
def test_stories_show_what_each_permission_reaches(
    scoped: tuple[Api, Case, Case], reaches: tuple[Scope | None, ...]
) -> None:
    """A case and a timeline leave out the values of calls, and of clients, that the role may not see of this client."""
    api, own, theirs = scoped
    reach = dict(zip(LIMITABLE, reaches, strict=True))
    under(api, "advisor", reach)
    for case, mine in ((own, True), (theirs, False)):
        for path in (f"/cases/{case.request}", f"/clients/{case.client}/timeline"):
            answer = api.get(path, "advisor")
            if not mine and reach["read cases"] == "assigned":
                assert answer.status_code == 404
                continue
            story = answer.json()
            steps = story["events"] if "events" in story else [*story["registry"], *story["cases"][0]["events"]]
            for step in steps:
                permitted = mine or reach[permission_of(step["stream"], step["type"])] == "all"
                assert (set(step["missing"].values()) == {"not-permitted"}) == (bool(step["missing"]) and not permitted)
                assert permitted or not step["values"], step


def test_an_examiner_sees_the_clients_of_the_grant_beside_those_of_the_role(scoped: tuple[Api, Case, Case]) -> None:
    """Each for itself: an auditor that the policy limits to assigned clients still examines those that were granted."""
    api, own, _ = scoped
    under(api, "auditor", dict.fromkeys(LIMITABLE, "assigned"))
    upto = api.head()[0]
    assert {event["client_id"] for event in found(api, "vera", as_of=upto)} == {None, THEIRS}
    path = f"/clients/{own.client}"
    assert api.call("POST", f"{path}/assignments", "compliance", json={"subject": "vera"}).status_code == 201
    assert {event["client_id"] for event in found(api, "vera", as_of=upto)} == {None, OWN, THEIRS}
    assert api.call("POST", f"{path}/unassignments", "compliance", json={"subject": "vera"}).status_code == 201
    assert {event["client_id"] for event in found(api, "vera", as_of=upto)} == {None, THEIRS}


def test_a_merge_shows_no_identifier_that_is_out_of_reach(scoped: tuple[Api, Case, Case]) -> None:
    """Asked for the merged client, whose reader does not reach the other one, a search has its own events alone."""
    api = scoped[0]
    acting = Acting(api)
    old = make_case(acting, "advisor", "merged-away", "old")
    new = make_case(acting, "advisor2", "merged-into", "new")
    assert acting.post(f"/clients/{old.client}/merges", "compliance", {"into": new.client}).status_code == 201
    under(api, "advisor", dict.fromkeys(LIMITABLE, "assigned"))
    assert {event["client_id"] for event in found(api, "advisor", client_id="merged-away")} == {"merged-away"}
    problem(api.get("/events", "advisor", client_id="merged-into"), 404, "client-unknown")
    under(api, "advisor", dict.fromkeys(LIMITABLE, "all"))
    both = {event["client_id"] for event in found(api, "advisor", client_id="merged-away")}
    assert both == {"merged-away", "merged-into"}
