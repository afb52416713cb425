"""A policy that asks for two administrators: a change of a subject waits until another one confirms it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger.domain.access_policy import AccessPolicy
from ledger.domain.policy import HOME
from ledger.service.policies import Policies
from schema.events import SubjectChangeProposed, SubjectGroupJoined
from tests.api.http.test_rights import permissions
from tests.api.served import Api, problem, served
from tests.subjects import grant, record, subject, subjects
from tests.support import connect, eventually

PAST = "2020-01-01T00:00:00Z"
TYPES = "SELECT type FROM events WHERE position > %s AND type <> 'access.recorded' ORDER BY position"
OF_CHANGE = "SELECT body::jsonb->>'causation' FROM events WHERE position > %s AND stream = %s ORDER BY position"


@pytest.fixture(scope="module")
def two(module_ledger: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A server whose policy asks for two; `admin` and `second` are administrators; compliance manages subjects too."""
    path: Path = tmp_path_factory.mktemp("policy") / "access.json"
    text = json.loads((HOME / "access.json").read_text("utf-8"))
    text["permissions"]["manage subjects"] = {"admin": "all", "compliance": "all"}
    path.write_text(json.dumps({**text, "version": "two-1", "administrators": {"changes": "two"}}))
    with served(module_ledger, policies=replace(Policies.packaged(), access=AccessPolicy.load(path))) as api:
        api.tokens |= subjects(api.url, {"second": "admin"})
        grant(api.url, "admin", "compliance")
        yield api


def post(api: Api, path: str, by: str = "admin", key: str | None = None, acting: str = "admin", **body: Any) -> Any:
    """Send a command in a role; return the response."""
    headers = {"Ledger-Role": acting, **({} if key is None else {"Idempotency-Key": key})}
    return api.call("POST", path, by, json=body, headers=headers)


def proposed(api: Api, path: str, **body: Any) -> int:
    """Propose a change as `admin`; return its id."""
    answer = post(api, path, **body)
    assert answer.status_code == 202, answer.text
    assert answer.json()["event"] == "subject.change-proposed"
    return int(answer.json()["change_id"])


def confirm(api: Api, change: int, by: str = "second", key: str | None = None, **how: Any) -> httpx.Response:
    """Confirm a change."""
    answer: httpx.Response = post(api, f"/subject-changes/{change}/confirmations", by, key, **how)
    return answer


def recorded_after(api: Api, position: int) -> list[str]:
    """Return the types of the events after a position."""
    with connect(api.url) as conn:
        return [row[0] for row in conn.execute(TYPES, [position])]


def row_of(api: Api, change: int) -> dict[str, Any]:
    """Return the row of a change."""
    [row] = [row for row in api.get("/subject-changes", "second").json()["items"] if row["id"] == change]
    found: dict[str, Any] = row
    return found


def test_each_change_waits_for_another_administrator(two: Api) -> None:
    """A subject comes to its token by proposals alone; each is recorded with its change in one append, and caused it.

    The policy is on record before the first. To suspend and to revoke takes one. A proposal has no token in it.
    """
    start = two.head()[0]
    change = proposed(two, "/subjects/ann/registrations", kind="human", display_name="Ann A.")
    assert recorded_after(two, start) == ["policy.adopted", "subject.change-proposed"]
    problem(two.get("/subjects/ann", "second"), 404, "subject-unknown")
    row = row_of(two, change)
    assert (row["subject"], row["change"], row["members"]) == ("ann", "subject.registered", {"kind": "human"})
    assert (row["state"], row["proposed_by"], row["display_name"]) == ("pending", "admin", "Ann A.")
    with two.records_nothing():
        problem(confirm(two, change, "admin"), 409, "same-person")
        # Neither in another role.
        problem(confirm(two, change, "admin", acting="compliance"), 409, "same-person")
        problem(confirm(two, 999_999), 404, "change-unknown")
    start = two.head()[0]
    answer = confirm(two, change, rationale="seen her contract")
    assert answer.json() == {"subject": "ann", "event": "subject.registered", "credential": None, "token": None}
    assert recorded_after(two, start) == ["subject.registered", "subject.change-confirmed"]
    with connect(two.url) as conn:
        causes = {cause for (cause,) in conn.execute(OF_CHANGE, [start, "subject-ann"])}
        [(proposal,)] = conn.execute("SELECT id::text FROM events WHERE position = %s", [change]).fetchall()
    assert causes == {proposal}
    row = row_of(two, change)
    assert (row["state"], row["answered_by"], row["rationale"]) == ("confirmed", "second", "seen her contract")
    problem(confirm(two, change), 409, "change-answered")
    for path, body in (
        ("roles", {"role": "advisor"}),
        ("memberships", {"group": "zurich"}),
        ("membership-ends", {"group": "zurich"}),
    ):
        assert confirm(two, proposed(two, f"/subjects/ann/{path}", **body)).status_code == 201
    change = proposed(two, "/subjects/ann/credentials")
    assert two.get("/subjects/ann/credentials", "second").json()["items"] == []
    issued = confirm(two, change, key="once")
    assert (issued.status_code, issued.headers["cache-control"]) == (201, "no-store")
    two.tokens["ann"] = issued.json()["token"]
    assert two.get("/me", "ann").json()["roles"] == [{"role": "advisor", "until": None, "clients": None}]
    with two.records_nothing():
        assert problem(confirm(two, change, key="once"), 409, "token-issued")["credential"] == 1
    assert post(two, "/subjects/ann/suspensions", reason="lost her badge").status_code == 201
    assert confirm(two, proposed(two, "/subjects/ann/resumptions", reason="found")).status_code == 201
    assert post(two, "/subjects/ann/revocations", credential=1).status_code == 201
    assert post(two, "/subjects/ann/role-revocations", role="advisor").status_code == 201
    eventually("the token ends", lambda: two.get("/me", "ann").status_code == 401)


def test_an_identity_waits_as_a_token_does_and_belongs_to_one(two: Api) -> None:
    """The proposal has the identity sealed. One that somebody got meanwhile is refused to the confirmer."""
    two.tokens |= subjects(two.url, {"ida": "advisor", "ivo": "advisor"})
    body = {"issuer": "https://id.example", "identity": "ida-there"}
    changes = [proposed(two, f"/subjects/{name}/identities", **body) for name in ("ida", "ivo")]
    row = row_of(two, changes[0])
    assert (row["members"], row["identity"]) == ({"issuer": "https://id.example"}, "ida-there")
    with connect(two.url) as conn:
        assert conn.execute("SELECT FROM events WHERE strpos(body, 'ida-there') > 0").rowcount == 0
    with two.records_nothing():
        problem(confirm(two, changes[0], "admin"), 409, "same-person")
    answer = confirm(two, changes[0], key="identity")
    wanted = {"subject": "ida", "event": "credential.issued", "credential": 2, "token": None}
    assert (answer.status_code, answer.json()) == (201, wanted)
    with two.records_nothing():
        # There is no token to show, so a retry gets the same answer.
        assert confirm(two, changes[0], key="identity").json() == wanted
        refused = problem(confirm(two, changes[1]), 409, "identity-registered")
        assert (refused["subject"], refused["credential"]) == ("ida", 2)
        problem(post(two, "/subjects/ivo/identities", **body), 409, "identity-registered")


def test_no_route_is_forgotten(two: Api) -> None:
    """Each write of administrators about subjects may answer 202, but for those that cannot wait, and the answers."""
    paths = two.get("/openapi.json", None).json()["paths"]
    writes = {path for (method, path), name in permissions().items() if method == "POST" and name == "manage subjects"}
    alone = {path for path in writes if "202" not in paths[path]["post"]["responses"]}
    assert alone == {
        "/subjects/{name}/suspensions",
        "/subjects/{name}/role-revocations",
        "/subjects/{name}/revocations",
        "/subject-changes/{change_id}/confirmations",
        "/subject-changes/{change_id}/declines",
    }


def test_of_two_confirmations_at_once_one_counts(two: Api) -> None:
    """The other one is refused, and the change is recorded once."""
    two.tokens |= subjects(two.url, {"third": "admin", "erin": "advisor"})
    for group in ("one", "two", "three"):
        change, start = proposed(two, "/subjects/erin/memberships", group=group), two.head()[0]
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda by, change=change: confirm(two, change, by), ("second", "third")))
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        problem(max(answers, key=lambda answer: answer.status_code), 409, "change-answered")
        assert recorded_after(two, start) == ["subject.group-joined", "subject.change-confirmed"]


def test_an_agent_is_resumed_by_two_as_well(two: Api) -> None:
    """The route of agents is no way around; it still knows agents alone."""
    subject(two.url, "robot", "agent")
    assert post(two, "/agents/robot/suspensions", reason="r").status_code == 201
    change = proposed(two, "/agents/robot/resumptions", reason="r")
    assert row_of(two, change)["change"] == "subject.resumed"
    assert confirm(two, change).json()["event"] == "subject.resumed"
    problem(post(two, "/agents/second/resumptions", reason="r"), 404, "agent-unknown")


def test_a_proposal_is_refused_as_its_change_would_be(two: Api) -> None:
    """What could not be recorded now is not proposed; a retry of a proposal is recorded once."""
    subject(two.url, "rita", "advisor")
    with two.records_nothing():
        problem(post(two, "/subjects/rita/registrations", kind="human"), 409, "subject-exists")
        problem(post(two, "/subjects/rita/roles", role="agent"), 422, "invalid")
        problem(post(two, "/subjects/rita/resumptions", reason="r"), 409, "subject-not-suspended")
        problem(post(two, "/subjects/rita/credentials", replaces=9), 404, "credential-unknown")
        problem(post(two, "/subjects/nobody/roles", role="advisor"), 404, "subject-unknown")
    body = {"group": "basel"}
    first = post(two, "/subjects/rita/memberships", key="k", **body)
    with two.records_nothing():
        assert post(two, "/subjects/rita/memberships", key="k", **body).json() == first.json()
        problem(post(two, "/subjects/rita/memberships", key="k", group="bern"), 409, "idempotency-key-reused")
    change = first.json()["change_id"]
    done = confirm(two, change, key="c")
    with two.records_nothing():
        assert (confirm(two, change, key="c").json(), done.status_code) == (done.json(), 201)
        assert post(two, "/subjects/rita/memberships", key="k", **body).json() == first.json()


def test_a_change_that_is_declined_outdated_or_expired_has_no_effect(two: Api) -> None:
    """Each is refused by its name and shown in its state; a decision about the subject as it was is not applied."""
    subject(two.url, "otto", "advisor")
    declined = proposed(two, "/subjects/otto/memberships", group="one")
    withdrawn = proposed(two, "/subjects/otto/memberships", group="two")
    outdated = proposed(two, "/subjects/otto/memberships", group="three")
    for change, by in ((declined, "second"), (withdrawn, "admin")):
        answer = post(two, f"/subject-changes/{change}/declines", by, rationale="no need")
        assert (answer.status_code, answer.json()["event"]) == (201, "subject.change-declined")
        assert (row_of(two, change)["state"], row_of(two, change)["rationale"]) == ("declined", "no need")
    record(two.url, "otto", SubjectGroupJoined(group="three"))
    event = SubjectChangeProposed(change="subject.group-joined", members={"group": "four"}, expires_at=PAST)
    record(two.url, "otto", event)
    expired = two.head()[0]
    for change, slug in (
        (declined, "change-answered"),
        (withdrawn, "change-answered"),
        (outdated, "change-outdated"),
        (expired, "change-expired"),
    ):
        with two.records_nothing():
            problem(confirm(two, change), 409, slug)
            problem(post(two, f"/subject-changes/{change}/declines", "second", rationale="r"), 409, slug)
    listed = two.get("/subject-changes", "auditor", state="expired", limit=5).json()["items"]
    assert [row["id"] for row in listed] == [expired]
    assert row_of(two, outdated)["state"] == "outdated"
    assert two.get("/subjects/otto", "auditor").json()["groups"] == ["three"]
    problem(two.get("/subject-changes", "advisor"), 403, "wrong-role")
    problem(confirm(two, outdated, "auditor", acting="auditor"), 403, "wrong-role")
