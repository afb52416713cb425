"""Signed acts over HTTP: passkeys, every refusal by its name, and the policy that asks for signatures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger.proof.format.canonical import canonical
from ledger.proof.format.hashes import commitment
from ledger.service.policies import Policies
from ledger.store.envelope import idempotent_id
from ledger.verify.database import verify_chain
from schema.events import CredentialRevoked
from tests.api.acting import Acting
from tests.api.served import Api, problem, served
from tests.client.test_signing import client, origin, registered, subject, verified
from tests.ledger.proof.acts.signing import ORIGIN, Device, Signer, registration, signed
from tests.support import append, connect, eventually, new

SALT = "5a" * 32
KEY = "one-decision"


@pytest.fixture
def api(fresh_api: Api) -> Iterator[Api]:
    """The application at the address that the passkeys are for."""
    with served(fresh_api.url, tokens=fresh_api.tokens, public_origins=(ORIGIN,)) as found:
        subject(found, "advisor")
        yield found


def now(**ago: float) -> str:
    """Return the time, or one before."""
    return (datetime.now(UTC) - timedelta(**ago)).isoformat().replace("+00:00", "Z")


def register(api: Api, key: Signer, prepared: str | None = None, **changes: Any) -> httpx.Response:
    """Register a key of the advisor."""
    body = registration(key, "advisor", ledger=origin(api), prepared=prepared or now(), **changes)["data"]
    del body["credential"]
    return api.call("POST", "/me/signing-keys", "advisor", json=body)


def rejection(
    api: Api, at: int, key: Signer, number: int, prepared: str | None = None, command: str = KEY
) -> tuple[dict[str, Any], str]:
    """Return the body and the signature of a rejection by the advisor."""
    body = {
        "digest": Acting(api).digest(at),
        "outcome": "reject",
        "reason_code": "house-view",
        "rationale": "no",
    }
    data = {name: body[name] for name in ("digest", "outcome", "reason_code")} | {"recommendation_id": at}
    event = {
        "actor": {"id": "advisor"},
        "data": data,
        "id": str(idempotent_id("advisor", command)),
        "sealed": {"rationale": commitment("rationale", bytes.fromhex(SALT), canonical("no"))},
        "type": "recommendation.decided",
    }
    made = signed(event, key, number, origin(api), prepared or now())["signature"]
    del made["covers"]
    return body, json.dumps(made | {"salts": {"rationale": SALT}})


def send(api: Api, at: int, body: dict[str, Any], signature: str, key: str | None = KEY) -> httpx.Response:
    """Send a decision with its signature."""
    headers = {"Ledger-Signature": signature} | ({} if key is None else {"Idempotency-Key": key})
    return api.call("POST", f"/recommendations/{at}/decisions", "advisor", json=body, headers=headers)


@pytest.mark.parametrize("flags", [0x05, 0x1D])
def test_a_passkey_signs_a_decision(api: Api, flags: int) -> None:
    """A passkey is registered with its first assertion, signs a decision, and the chain shows it."""
    device = Device(flags=flags)
    response = register(api, device)
    assert response.status_code == 201, response.text
    number = response.json()["credential"]
    at = Acting(api).proposed()
    response = send(api, at, *rejection(api, at, device, number))
    assert response.status_code == 201, response.text
    report = verified(api)
    assert report.ok, report.findings
    assert report.acts.actors["advisor"].signed == {str(number): 1}
    # Sent again with a new signature: the same decision.
    again = send(api, at, *rejection(api, at, device, number))
    assert (again.status_code, again.headers["Ledger-Position"]) == (201, response.headers["Ledger-Position"])


def test_the_read_model_of_credentials_lists_keys(api: Api) -> None:
    """A signing key is a row of its own kind, with its end and its revocation."""
    ends = now(hours=-1)
    number = register(api, Device(), expires_at=ends).json()["credential"]
    with connect(api.url, "writer") as conn:
        append(conn, new("subject-advisor", CredentialRevoked(credential=number)))
    with connect(api.url) as conn:
        query = "SELECT kind, sha256, ends_at FROM credentials WHERE credential = %s AND revoked_at IS NOT NULL"
        row = eventually("the row is there", lambda: conn.execute(query, [number]).fetchone())
    assert row == ("signing-key", None, datetime.fromisoformat(ends))


def test_each_refused_signature_has_a_name(api: Api) -> None:
    """A signature that does not hold is 422 with the name of the step, and nothing is recorded."""
    device = Device()
    number = register(api, device).json()["credential"]
    at = Acting(api).proposed()
    body, good = rejection(api, at, device, number)
    members = json.loads(good)

    def changed(**changes: Any) -> str:
        return json.dumps(members | changes)

    elsewhere = Device(device.private, origin="https://evil.example")
    nobody = Device(device.private, flags=0x01)
    foreign = json.loads(rejection(api, at, Device(), number)[1])["signature"]
    cases = [
        ("signature-challenge", {**body, "outcome": "approve", "reason_code": None}, good),
        ("signature-challenge", {**body, "rationale": "yes"}, good),
        ("signature-challenge", body, rejection(api, at, device, number)[1].replace(SALT, "5b" * 32)),
        ("signature-origin", body, rejection(api, at, elsewhere, number)[1]),
        ("signature-device", body, rejection(api, at, nobody, number)[1]),
        (
            "signature-invalid",
            body,
            changed(signature=foreign),
        ),
        ("signature-key", body, changed(key=77)),
        ("signature-key", body, changed(scheme="ed25519")),
        ("signature-encoding", body, changed(salts={})),
        ("signature-encoding", body, changed(salts={"rationale": SALT, "response": "5c" * 32})),
        ("signature-encoding", body, changed(covers=[])),
        ("signature-encoding", body, changed(signature="AA==")),
        ("signature-encoding", body, "no JSON"),
        ("signature-late", body, rejection(api, at, device, number, now(minutes=11))[1]),
        ("signature-late", body, rejection(api, at, device, number, now(minutes=-11))[1]),
    ]
    with api.records_nothing():
        for slug, content, signature in cases:
            sent = {name: value for name, value in content.items() if value is not None}
            problem(send(api, at, sent, signature), 422, slug)
        problem(send(api, at, body, good, key=None), 422, "signature-encoding")
        problem(send(api, at, body, good, key="another"), 422, "signature-challenge")
        problem(send(api, at, body, "x" * 20_000), 422, "invalid")
    assert send(api, at, body, good).status_code == 201


def test_a_revoked_key_signs_nothing_more(api: Api) -> None:
    """From its revocation on a key is refused; what it signed before still verifies."""
    device = Device()
    number = register(api, device).json()["credential"]
    acting = Acting(api)
    first, second = acting.proposed(), acting.proposed()
    assert send(api, first, *rejection(api, first, device, number)).status_code == 201
    with connect(api.url, "writer") as conn:
        append(conn, new("subject-advisor", CredentialRevoked(credential=number)))
    body, signature = rejection(api, second, device, number)
    problem(send(api, second, body, signature, key="second"), 422, "signature-key")
    assert verified(api).ok


def test_a_registration_is_checked(api: Api) -> None:
    """A passkey for another address, with a false flag, an old proof or the members of a file key is refused."""
    with api.records_nothing():
        problem(register(api, Device(), origins=["https://evil.example"]), 422, "invalid")
        problem(register(api, Device(rp_id="evil.example")), 422, "invalid")
        problem(register(api, Device(), backup_eligible=True), 422, "signature-device")
        problem(register(api, Device(), prepared=now(minutes=11)), 422, "signature-late")
        for minutes in (1, -4):
            problem(register(api, Device(), expires_at=now(minutes=minutes)), 422, "signature-key")
        problem(register(api, Device(), scheme="ed25519"), 422, "invalid")
        problem(register(api, Device(), purpose="login"), 422, "invalid")
    with served(api.url, tokens=api.tokens) as other, other.records_nothing():
        problem(register(other, Device()), 422, "invalid")


RULE = {"name": "large", "acts": ["recommendation.decided"], "amount_usd_at_least": "200000.00"}


def policies(folder: Path, version: str = "1", *rules: dict[str, Any]) -> Policies:
    """Return the packaged policies with these rules of signed acts."""
    path = folder / f"signed-acts-{version}.json"
    path.write_text(json.dumps({"name": "signed-acts", "version": version, "rules": rules}))
    return Policies.of(signed_acts=path)


def adopted(api: Api) -> list[str]:
    """Return the versions of the policy signed-acts in the order of their adoption."""
    with connect(api.url) as conn:
        rows = conn.execute("SELECT body FROM events WHERE stream = 'policy-signed-acts' ORDER BY position").fetchall()
    return [json.loads(body)["data"]["version"] for (body,) in rows]


def test_a_policy_asks_for_signatures(fresh_api: Api, tmp_path: Path) -> None:
    """Acts of the amount need a signature, by the scheme of the rule. The policy is on record before the first act."""
    api = fresh_api
    small = {"outcome": "reject", "reason_code": "house-view", "rationale": "no"}
    with served(api.url, tokens=api.tokens, policies=policies(tmp_path, "1", RULE)) as strict:
        acting = Acting(strict)
        key = registered(strict, "advisor")
        at = acting.proposed()
        with strict.records_nothing():
            found = problem(acting.decide(at, **small), 409, "signature-required")
        assert (found["rule"], found["policy_version"]) == ("large", "1")
        assert acting.decide(acting.proposed(amount_usd="1000.00"), **small).status_code == 201
        with client(strict, "advisor", key) as advisor:
            advisor.decide(at, digest=acting.digest(at), outcome="reject", reason_code="house-view", rationale="no")
        at = acting.proposed()
        passkeys = policies(tmp_path, "2", {**RULE, "schemes": ["webauthn"]})
        with (
            served(api.url, tokens=api.tokens, policies=passkeys) as stricter,
            client(stricter, "advisor", key) as advisor,
            pytest.raises(Exception, match="signature-required"),
        ):
            advisor.decide(at, digest=acting.digest(at), outcome="approve")
    assert adopted(api) == ["1"]
    # A server without rules says so, as the rules on record are not its own.
    assert Acting(api).decide(at, **small).status_code == 201
    assert adopted(api) == ["1", "2026.1"]
    assert Acting(api).decide(Acting(api).proposed(), **small).status_code == 201
    assert adopted(api) == ["1", "2026.1"]
    with connect(api.url, "verifier") as conn:
        assert verify_chain(conn).acts.signed == 1


@pytest.mark.parametrize(
    "act", ["request.failed", "recommendation.recorded", "recommendation.communicated", "model-call.completed"]
)
def test_every_act_can_need_a_signature(fresh_api: Api, tmp_path: Path, act: str) -> None:
    """Answers, failures, completions and communications are refused without a signature where a rule asks for it."""
    rules = policies(tmp_path, "1", {"name": "all", "acts": [act]})
    with served(fresh_api.url, tokens=fresh_api.tokens, policies=rules) as api:
        acting, plain = Acting(api), Acting(fresh_api)
        request_id = api.asked()
        if act == "request.failed":
            response = acting.fail(request_id)
        elif act == "recommendation.recorded":
            response = api.answer(request_id)
        elif act == "model-call.completed":
            start = {"provider_name": "p", "request_model": "m"}
            call = acting.post(f"/portfolio/requests/{request_id}/model-calls", "agent", start).json()
            response = acting.post(f"/model-calls/{call['model_call_id']}/completion", "agent", {})
        else:
            at = plain.proposed(amount_usd="1000.00")
            plain.decided(at)
            response = acting.tell(at)
        problem(response, 409, "signature-required")
        assert adopted(api) == []
