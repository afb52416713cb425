"""Administrators over HTTP: subjects, roles, groups, suspensions, credentials; and what anybody reads of themselves."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from schema.events import SubjectRoleGranted
from tests.api.acting import Acting
from tests.api.served import ASK, ASKS, Api, problem
from tests.subjects import grant, record, subject
from tests.support import eventually

LATER = "2100-01-01T00:00:00Z"
PAST = "2020-01-01T00:00:00Z"


class Office:
    """An administrator's commands about one subject."""

    def __init__(self, api: Api, name: str) -> None:
        self.api = api
        self.at = f"/subjects/{name}"

    def post(self, what: str, key: str | None = None, by: str = "admin", **body: Any) -> httpx.Response:
        """Send a command."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.api.call("POST", f"{self.at}/{what}", by, json=body, headers=headers)

    def done(self, what: str, **body: Any) -> dict[str, Any]:
        """Send a command that is recorded; return the answer."""
        response = self.post(what, **body)
        assert response.status_code == 201, response.text
        found: dict[str, Any] = response.json()
        return found

    def with_token(self, token: str, path: str = "/me", **headers: str) -> httpx.Response:
        """Read as the holder of a token."""
        return self.api.client.get(self.api.base + path, headers={"Authorization": f"Bearer {token}", **headers})


def test_a_subject_from_its_registration_to_its_last_token(api: Api) -> None:
    """Each step is recorded, holds at the next request or within a second, and is in the rows that are read."""
    office = Office(api, "ann")
    problem(api.get("/subjects/ann", "admin"), 404, "subject-unknown")
    assert office.done("registrations", kind="human", display_name="Ann A.") == {
        "subject": "ann",
        "event": "subject.registered",
    }
    problem(office.post("registrations", kind="human"), 409, "subject-exists")
    assert office.done("roles", role="advisor", until=LATER)["event"] == "subject.role-granted"
    assert office.done("memberships", group="zurich")["event"] == "subject.group-joined"
    first = office.done("credentials")
    assert (first["subject"], first["credential"]) == ("ann", 1)
    me = office.with_token(first["token"]).json()
    assert me == {
        "subject": "ann",
        "kind": "human",
        "roles": [{"role": "advisor", "until": LATER, "clients": None}],
        "role": "advisor",
        "groups": ["zurich"],
        "credential": {"credential": 1, "kind": "token", "ends_at": None},
        "clients": {"reach": "all", "count": None, "numbers": None},
    }
    second = office.done("credentials", replaces=1, replaced_until=LATER, expires_at=LATER)
    assert second["credential"] == 2
    assert office.with_token(second["token"]).json()["credential"] == {
        "credential": 2,
        "kind": "token",
        "ends_at": LATER,
    }
    eventually("the old one ends", lambda: office.with_token(first["token"]).json()["credential"]["ends_at"] == LATER)
    listed = api.get("/subjects/ann/credentials", "auditor").json()["items"]
    assert [(item["credential"], item["replaces"], item["replaced_by"]) for item in listed] == [
        (2, 1, None),
        (1, None, 2),
    ]
    assert not [item for item in listed if "sha256" in item]
    assert all(item["last_used_at"] is not None for item in listed)
    office.done("revocations", credential=1, reason="rotated")
    eventually("the first token is refused", lambda: office.with_token(first["token"]).status_code == 401)
    office.done("suspensions", reason="on leave")
    eventually("suspended", lambda: office.with_token(second["token"]).status_code == 403)
    [row] = api.get("/subjects", "compliance", suspended="true").json()["items"]
    assert (row["name"], row["suspended_by"], row["suspend_reason"]) == ("ann", "admin", "on leave")
    office.done("resumptions", reason="back")
    office.done("membership-ends", group="zurich")
    office.done("role-revocations", role="advisor")
    before = api.head()[0] - 1
    eventually("no role is left", lambda: office.with_token(second["token"]).status_code == 403)
    row = api.get("/subjects/ann", "admin").json()
    assert (row["roles"], row["groups"], row["display_name"]) == ([], [], "Ann A.")
    assert api.get("/subjects/ann", "admin", as_of=before).json()["roles"] == ["advisor"]


@pytest.mark.parametrize(
    ("what", "body", "status", "slug"),
    [
        ("roles", {"role": "root"}, 422, "invalid"),
        ("roles", {"role": "agent"}, 422, "invalid"),
        ("roles", {"role": "examiner", "until": LATER}, 422, "invalid"),
        ("roles", {"role": "auditor", "until": PAST}, 422, "invalid"),
        ("roles", {"role": "compliance", "clients": [999_999]}, 422, "invalid"),
        ("role-revocations", {"role": "admin"}, 409, "role-not-held"),
        ("resumptions", {"reason": "r"}, 409, "subject-not-suspended"),
        ("membership-ends", {"group": "nowhere"}, 409, "not-in-group"),
        ("credentials", {"replaces": 99}, 404, "credential-unknown"),
        ("credentials", {"replaced_until": LATER}, 422, "invalid"),
        ("credentials", {"expires_at": PAST}, 422, "invalid"),
        ("revocations", {"credential": 99}, 404, "credential-unknown"),
    ],
)
def test_what_the_rules_refuse_is_refused_by_name(
    api: Api, what: str, body: dict[str, Any], status: int, slug: str
) -> None:
    """The domain's refusals are the answers; nothing is recorded; nobody but an administrator gets that far."""
    if api.get("/subjects/rita", "admin").status_code == 404:
        subject(api.url, "rita", "advisor")
    office = Office(api, "rita")
    with api.records_nothing():
        problem(office.post(what, **body), status, slug)
        problem(office.post(what, by="compliance", **body), 403, "wrong-role")
    problem(api.get("/subjects/nobody/credentials", "admin"), 404, "subject-unknown")


def test_a_token_is_shown_once(api: Api) -> None:
    """A retry records nothing and names the credential; no row, no event and no cache has the token."""
    subject(api.url, "tom", "advisor")
    office = Office(api, "tom")
    first = office.post("credentials", key="one")
    assert first.status_code == 201
    assert first.headers["cache-control"] == "no-store"
    with api.records_nothing():
        again = problem(office.post("credentials", key="one"), 409, "token-issued")
    assert again["credential"] == first.json()["credential"] == 2
    problem(office.post("credentials", key="one", expires_at=LATER), 409, "idempotency-key-reused")


def test_everybody_reads_who_they_are(api: Api) -> None:
    """Each role; several roles without a header are no error; an examiner and a limited role have their numbers."""
    for role in ("advisor", "compliance", "auditor", "agent", "admin"):
        me = api.get("/me", role).json()
        assert (me["subject"], me["role"]) == (role, role)
        assert me["clients"]["reach"] == ("all" if role in {"advisor", "compliance"} else "none")
    acting = Acting(api)
    assert acting.post(ASKS, "advisor", {**ASK, "client_id": "known"}).status_code == 202
    [row] = api.get("/clients", "compliance", client_id="known").json()["items"]
    token = subject(api.url, "two", "compliance")
    grant(api.url, "two", "admin")
    record(api.url, "two", SubjectRoleGranted(role="examiner", until=LATER, clients=[row["id"], 999]))
    office = Office(api, "two")
    eventually("three roles", lambda: len(office.with_token(token).json()["roles"]) == 3)
    me = office.with_token(token).json()
    assert (me["role"], me["clients"]) == (None, None)
    me = office.with_token(token, **{"Ledger-Role": "examiner"}).json()
    assert (me["role"], me["clients"]) == ("examiner", {"reach": "some", "count": 1, "numbers": [row["id"]]})
    assert me["roles"][2] == {"role": "examiner", "until": LATER, "clients": [row["id"], 999]}
    problem(office.with_token(token, **{"Ledger-Role": "auditor"}), 403, "wrong-role")
    problem(api.get("/me", None), 401, "no-token")
