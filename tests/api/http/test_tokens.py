"""Who is let in: by tokens of subjects, as the chain has them, and in which role."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest
from psycopg import sql

from api.agents.registry import RECORDED
from api.callers import CHANGED
from api.http.auth.tokens import new_token
from ledger.domain.agent import RESERVED
from ledger.domain.subject import ROLES
from schema.events import CredentialIssued, SubjectResumed, SubjectRoleRevoked, SubjectSuspended
from tests.api.served import ASK, ASKS, Api, problem
from tests.subjects import grant, record, revoke, second_token, subject
from tests.support import connect, eventually

# Rows of read models that no event is behind, as the projector's login can make them.
OF_EVE = 1_000_000
MAKE_CREDENTIAL = """
    INSERT INTO credentials (stream, id, subject, credential, kind, sha256, issued_by, created_at)
    VALUES ('subject-' || %(name)s, %(id)s, %(name)s, %(number)s, 'token', %(sha256)s, 'eve', now())
"""
MAKE_SUBJECT = """
    INSERT INTO subjects (stream, id, name, kind, roles, grants, groups, suspended, created_at, updated_at)
    VALUES ('subject-nobody', %(id)s, 'nobody', 'human', '{auditor}', '[]', '{}', false, now(), now())
"""


def call(api: Api, token: str, method: str = "GET", path: str = "/portfolio/requests", **how: Any) -> httpx.Response:
    """Send a request with this token; `role` names the role to act in."""
    headers = {"Authorization": f"Bearer {token}"}
    if (role := how.pop("role", None)) is not None:
        headers["Ledger-Role"] = role
    return api.client.request(method, api.base + path, headers={**headers, **how.pop("headers", {})}, **how)


def actor_of(api: Api, response: httpx.Response) -> dict[str, Any]:
    """The actor of the event that a write recorded."""
    with connect(api.url) as conn:
        query = "SELECT body::json->'actor' FROM events WHERE position = %s"
        [(actor,)] = conn.execute(query, [int(response.headers["ledger-position"])]).fetchall()
    return dict(actor)


def test_a_token_has_256_random_bits_and_only_its_hash_is_kept(api: Api) -> None:
    """`alt_` and 43 url-safe characters of 32 bytes, different each time; no table has the token."""
    made = [subject(api.url, f"user-{number}", "advisor") for number in range(3)]
    assert len(set(made)) == 3
    for token in made:
        assert re.fullmatch(r"alt_[A-Za-z0-9_-]{43}", token)
        assert len(base64.urlsafe_b64decode(token.removeprefix("alt_") + "=")) == 32
        assert call(api, token).status_code == 200
        with connect(api.url) as conn:
            for table in ("events", "credentials", "subjects", "sealed_fields"):
                query = sql.SQL("SELECT FROM {} t WHERE strpos(t::text, %s) > 0").format(sql.Identifier(table))
                assert conn.execute(query, [token[4:]]).rowcount == 0
            digest = sha256(token.encode()).hexdigest()
            assert conn.execute("SELECT FROM credentials WHERE sha256 = %s", [digest]).rowcount == 1


@pytest.mark.parametrize("role", ROLES)
def test_events_name_subject_role_and_credential(api: Api, role: str) -> None:
    """An event says who acted, in which role and with which credential; a second token is the same subject."""
    name = f"{role}@example.com"
    tokens = [subject(api.url, name, role), second_token(api.url, name)]
    for number, token in enumerate(tokens, 1):
        if role == "advisor":
            response = call(api, token, "POST", ASKS, json=ASK)
            assert actor_of(api, response) == {"credential": number, "id": name, "kind": "human", "role": "advisor"}
        else:  # proofs are for all roles; there is no checkpoint here
            problem(call(api, token, path="/proofs/inclusion/1"), 404, "not-covered")


def test_a_new_token_works_at_once(api: Api) -> None:
    """A caller with a token that was issued just now is not told that it is unknown: the read model is waited for."""
    for number in range(10):
        assert call(api, subject(api.url, f"new-{number}", "compliance")).status_code == 200


def test_what_ended_lets_nobody_in(api: Api) -> None:
    """A revoked, a replaced and an expired token get 401; one within its grace does not."""
    first = subject(api.url, "eve", "advisor")
    assert call(api, first).status_code == 200
    token, digest = new_token()
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    members = {"credential": 2, "kind": "token", "sha256": digest, "replaces": 1, "replaced_until": soon}
    record(api.url, "eve", CredentialIssued.model_validate(members))
    assert (call(api, first).status_code, call(api, token).status_code) == (200, 200)
    past = "2020-01-01T00:00:00Z"
    third, digest = new_token()
    members = {"credential": 3, "kind": "token", "sha256": digest, "replaces": 2, "expires_at": past}
    record(api.url, "eve", CredentialIssued.model_validate(members))
    problem(call(api, third), 401, "unknown-token")
    eventually("the replaced token is refused", lambda: call(api, token).status_code == 401)
    assert call(api, first).status_code == 200
    revoke(api.url, "eve")
    eventually("the revoked token is refused", lambda: call(api, first).status_code == 401)


def test_what_the_projector_writes_lets_nobody_in(api: Api) -> None:
    """An index says whose a token is, the chain alone that it is good: what the projector writes is no right."""
    chief = subject(api.url, "chief", "compliance")
    revoked = second_token(api.url, "chief")
    revoke(api.url, "chief", 2)
    assert call(api, chief).status_code == 200
    made = [(name, number, new_token()) for name, number in (("chief", 1), ("chief", 2), ("chief", 9), ("nobody", 1))]
    with connect(api.url, "projector") as conn:
        for id_, (name, number, (_, digest)) in enumerate(made, OF_EVE):
            conn.execute(MAKE_CREDENTIAL, {"id": id_, "name": name, "number": number, "sha256": digest})
        conn.execute(MAKE_SUBJECT, {"id": OF_EVE})
        again = {"id": OF_EVE - 1, "name": "chief", "number": 2, "sha256": sha256(revoked.encode()).hexdigest()}
        conn.execute(MAKE_CREDENTIAL, again)
        with api.records_nothing():
            for token in (revoked, *(token for _, _, (token, _) in made)):
                problem(call(api, token), 401, "unknown-token")
        for table in ("credentials", "subjects"):
            conn.execute(sql.SQL("DELETE FROM {} WHERE id >= %s").format(sql.Identifier(table)), [OF_EVE - 1])


def test_a_subject_with_several_roles_acts_in_one(api: Api) -> None:
    """Without the header the only role that may do it; of several one has to be named; a role not held is refused."""
    token = subject(api.url, "both", "advisor")
    grant(api.url, "both", "compliance")
    eventually("both roles are seen", lambda: call(api, token).status_code == 400)
    assert actor_of(api, call(api, token, "POST", ASKS, json=ASK))["role"] == "advisor"
    found = problem(call(api, token), 400, "choose-role")
    assert "Ledger-Role: advisor or compliance" in found["detail"]
    assert call(api, token, role="compliance").status_code == 200
    problem(call(api, token, role="admin"), 403, "wrong-role")
    problem(call(api, token, "POST", ASKS, role="compliance", json=ASK), 403, "wrong-role")
    twice = httpx.Headers([("Authorization", f"Bearer {token}"), ("Ledger-Role", "a"), ("Ledger-Role", "b")])
    problem(api.client.get(api.base + "/portfolio/requests", headers=twice), 400, "choose-role")
    record(api.url, "both", SubjectRoleRevoked(role="advisor"))
    eventually("the role is gone", lambda: call(api, token).status_code == 200)
    with api.records_nothing():
        problem(call(api, token, "POST", ASKS, json=ASK), 403, "wrong-role")


def test_a_suspended_person_does_nothing(api: Api) -> None:
    """Neither reads nor writes until resumed, and then at once; a token that is issued meanwhile does not help."""
    token = subject(api.url, "sue", "advisor")
    assert call(api, token).status_code == 200
    record(api.url, "sue", SubjectSuspended(reason="on leave"))
    eventually("the suspension is seen", lambda: call(api, token).status_code == 403)
    other = second_token(api.url, "sue")
    with api.records_nothing():
        for one in (token, other):
            problem(call(api, one), 403, "suspended")
            problem(call(api, one, "POST", ASKS, json=ASK), 403, "suspended")
    record(api.url, "sue", SubjectResumed(reason="back"))
    assert call(api, token).status_code == 200  # at once: a suspension is never believed from the cache


def test_a_retry_with_another_credential_gets_the_first_answer(api: Api) -> None:
    """An idempotency key is bound to the subject: after a rotation the same command has its first receipt."""
    tokens = [subject(api.url, "ida", "advisor"), second_token(api.url, "ida")]
    key = {"Idempotency-Key": "once"}
    first, again = (call(api, token, "POST", ASKS, json=ASK, headers=key) for token in tokens)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert first.headers["ledger-position"] == again.headers["ledger-position"]
    other = call(api, tokens[1], "POST", ASKS, json={**ASK, "amount_usd": "7"}, headers=key)
    problem(other, 409, "idempotency-key-reused")


def test_a_token_that_ended_is_a_refused_attempt_on_record(api: Api) -> None:
    """A revoked token says who tries: recorded once a minute for a route. An unknown one records nothing."""
    token = subject(api.url, "rex", "compliance")
    assert call(api, token).status_code == 200
    revoke(api.url, "rex")
    eventually("the token is refused", lambda: call(api, token).status_code == 401)
    details = {problem(call(api, token), 401, "unknown-token")["detail"] for _ in range(20)}
    assert details == {problem(call(api, new_token()[0]), 401, "unknown-token")["detail"]}
    items = api.get("/access", "compliance", subject="rex", action="refused").json()["items"]
    assert {(item["reason"], item["credential"], item["role"], item["resource"]) for item in items} == {
        ("unknown-token", 1, "compliance", "GET /portfolio/requests")
    }
    assert len(items) <= 2  # a new minute may begin meanwhile


def test_a_known_caller_costs_no_question_to_the_database(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Authentication asks the database for a new token, and not again; only its follower looks, four times a second."""
    token = subject(api.url, "often", "compliance")
    readers = api.app.state.services.callers._readers
    asked: list[object] = []

    def counted(name: str) -> Callable[..., Any]:
        ask = getattr(readers, name)

        def count(*arguments: Any) -> Any:
            if arguments[0] != CHANGED:
                asked.append(arguments)
            return ask(*arguments)

        return count

    for name in ("fetch_one", "streams"):
        monkeypatch.setattr(readers, name, counted(name))
    assert call(api, token, path="/me").status_code == 200
    assert asked
    asked.clear()
    for _ in range(50):
        assert call(api, token, path="/me").status_code == 200
    assert len(asked) <= 1, asked  # the follower may be late once on a busy machine; then the stream is read again


def test_names_of_our_own_agents_are_reserved() -> None:
    """The names that the domain reserves are those of the agents that the server runs."""
    assert RECORDED.keys() == RESERVED
