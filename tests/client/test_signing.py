"""The client signs what its caller does, and the ledger shows who signed what."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from advice_ledger_client import LedgerClient, LedgerProblem, SigningError, SigningKey

from ledger.verify.database import verify_chain
from ledger.verify.report import ChainReport
from schema.events import SubjectRegistered
from tests.api.served import Api
from tests.support import append, connect, new

CALL: dict[str, Any] = {"provider_name": "test", "request_model": "model-a", "input_messages": [{"role": "user"}]}
EDIT: dict[str, Any] = {
    "outcome": "edit",
    "reason_code": "model-unsuitable",
    "rationale": "needs cash, é",
    "replacement": {"weights": {"bonds": "0.1000", "cash": "0.9000"}, "expected": 0.5},
}


def origin(api: Api) -> str:
    """Read the origin of the ledger."""
    with connect(api.url) as conn:
        row = conn.execute("SELECT origin FROM head").fetchone()
    assert row is not None
    return str(row[0])


def client(api: Api, role: str, key: SigningKey | None = None) -> LedgerClient:
    """Make a client with the token of this role."""
    return LedgerClient(api.base, api.tokens[role], signing_key=key)


def subject(api: Api, role: str) -> None:
    """Make the caller of a role a subject of this ledger."""
    stream = f"subject-{role}"
    with connect(api.url) as conn:
        known = conn.execute("SELECT FROM events WHERE stream = %s", [stream]).fetchone()
    if known is None:
        with connect(api.url, "writer") as conn:
            append(conn, new(stream, SubjectRegistered(kind="agent" if role == "agent" else "human")))


def registered(api: Api, role: str, path: Path | None = None) -> SigningKey:
    """Register a new key for the subject of a role; return it, by way of a file if there is a path."""
    subject(api, role)
    with client(api, role) as caller:
        key = caller.register_signing_key(SigningKey.generate(ledger=origin(api), subject=role))
    if path is None:
        return key
    key.save(path)
    return SigningKey.load(path)


def verified(api: Api) -> ChainReport:
    """Verify the ledger."""
    with connect(api.url, "verifier") as conn:
        return verify_chain(conn)


def test_a_signed_life_verifies(fresh_api: Api, tmp_path: Path) -> None:
    """Answer, call, decision, confirmation and communication are signed, each by the key of who did it."""
    api = fresh_api
    keys = {role: registered(api, role, tmp_path / role) for role in ("advisor", "compliance", "agent")}
    with (
        client(api, "advisor", keys["advisor"]) as advisor,
        client(api, "agent", keys["agent"]) as agent,
        client(api, "compliance", keys["compliance"]) as second,
    ):
        asked = advisor.request_recommendation(client_id="client-1", risk_profile="balanced", amount_usd="250000.50")
        with agent.model_call(asked.request_id, **CALL) as call:
            call.complete(
                [{"role": "assistant", "content": "é"}], finish_reasons=["stop"], response_model="mode\u0301le"
            )
        made = agent.record_recommendation(
            asked.request_id,
            recommendation={"weights": {"cash": "1.0000"}, "expected": 0.25},
            model_name="mode\u0301le",
            parameters={"temperature": 0.5, "seed": None, "top": 1.0},
            prompt="ask",
            model_call_id=call.model_call_id,
        )
        digest = advisor.recommendation(made.recommendation_id)["digest"]
        decided = advisor.decide(made.recommendation_id, digest=digest, **EDIT)
        assert decided.needs_second
        after = second.confirm(decided.decision_id, digest=decided.digest, outcome="approve", rationale="yes")
        advisor.communicate(made.recommendation_id, digest=after.digest, channel="phone", message="told")
        other = advisor.request_recommendation(client_id="client-1", risk_profile="balanced", amount_usd="1000.00")
        with pytest.raises(ValueError, match="timed out"), agent.model_call(other.request_id, **CALL):
            raise ValueError("timed out")
        agent.claim(other.request_id)
        agent.fail_request(other.request_id, reason="no-answer", detail="nothing")
    report = verified(api)
    assert report.ok, report.findings
    signed = {name: acts.signed for name, acts in report.acts.actors.items()}
    assert {name: sum(by.values()) for name, by in signed.items()} == {"advisor": 2, "agent": 4, "compliance": 1}
    assert report.acts.unsigned == 0


def test_a_retry_gets_its_first_receipt(fresh_api: Api) -> None:
    """A command that is sent again is signed again, and recorded once. Unsigned it is not the same command."""
    api = fresh_api
    key = registered(api, "agent")
    request_id = api.asked()
    with client(api, "agent", key) as agent, client(api, "agent") as unsigned:
        agent.claim(request_id)
        first = agent.fail_request(request_id, reason="no-answer", detail="why", idempotency_key="k1")
        again = agent.fail_request(request_id, reason="no-answer", detail="why", idempotency_key="k1")
        assert first == again
        other = api.asked()
        agent.claim(other)
        plain = unsigned.fail_request(other, reason="no-answer", idempotency_key="k2")
        with pytest.raises(LedgerProblem, match="idempotency-key-reused"):
            agent.fail_request(other, reason="no-answer", idempotency_key="k2")
        assert unsigned.fail_request(other, reason="no-answer", idempotency_key="k2") == plain


def test_a_key_of_another_is_refused(fresh_api: Api) -> None:
    """The key of another subject, ledger or number signs nothing here, and nothing is recorded."""
    api = fresh_api
    key = registered(api, "agent")
    request_id = api.asked()
    with client(api, "agent", key) as agent:
        agent.claim(request_id)
    strangers = [
        SigningKey.generate(ledger=key.ledger, subject="agent").registered(key.credential or 0),
        SigningKey("other.example/ledger", "agent", key.private, key.credential),
        SigningKey(key.ledger, "advisor", key.private, key.credential),
        key.registered(99),
    ]
    for stranger in strangers:
        with (
            client(api, "agent", stranger) as agent,
            api.records_nothing(),
            pytest.raises(LedgerProblem, match=r"422 signature-(invalid|key)"),
        ):
            agent.fail_request(request_id, reason="no-answer")


def test_a_key_is_registered_once_over_http(fresh_api: Api) -> None:
    """Neither its subject nor another one can register the same public key again."""
    api = fresh_api
    key = registered(api, "agent")
    subject(api, "advisor")
    for role in ("agent", "advisor"):
        other = SigningKey(key.ledger, role, key.private)
        with (
            client(api, role) as caller,
            api.records_nothing(),
            pytest.raises(LedgerProblem, match="409 signing-key-registered"),
        ):
            caller.register_signing_key(other)
    with (
        client(api, "agent") as caller,
        api.records_nothing(),
        pytest.raises(LedgerProblem, match=r"422 signature-invalid"),
    ):
        caller.register_signing_key(SigningKey.generate(ledger=key.ledger, subject="advisor"))


def test_a_key_file_is_the_owners_alone(tmp_path: Path) -> None:
    """The file is for its owner, is never overwritten, and what is no key file is refused by its path."""
    key = SigningKey.generate(ledger="l", subject="s").registered(3)
    path = tmp_path / "a.key"
    key.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.load(path) == key
    with pytest.raises(FileExistsError):
        key.save(path)
    assert "private" not in repr(key)
    for text in ("", "[]", "{}", path.read_text().replace("/v1", "/v2"), path.read_text()[:-10]):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(SigningError, match="bad is not a key file"):
            SigningKey.load(tmp_path / "bad")
    with pytest.raises(SigningError, match="No such file"):
        SigningKey.load(tmp_path / "none")


def test_an_unregistered_key_sends_nothing() -> None:
    """A key without a number cannot sign, and no request leaves the client."""
    key = SigningKey.generate(ledger="l", subject="s")
    with (
        LedgerClient("http://127.0.0.1:1", "t", signing_key=key, retries=0) as agent,
        pytest.raises(SigningError, match="not registered"),
    ):
        agent.fail_request(1, reason="no-answer")
