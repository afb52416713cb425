"""The client against the running application: a request's whole life, lost answers, and a server that goes away."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from advice_ledger_client import LedgerClient, LedgerProblem, NotRecorded, Unreachable, sender

from schema.events import SubjectRoleGranted
from tests.api.served import Api
from tests.client.losing import relaying
from tests.subjects import record
from tests.support import eventually

ASK: dict[str, Any] = {"client_id": "client-1", "risk_profile": "balanced", "amount_usd": Decimal("250000.50")}
ANSWER: dict[str, Any] = {"recommendation": {"weights": {"cash": "1.0000"}}, "model_name": "model-a"}
CALL: dict[str, Any] = {"provider_name": "test", "request_model": "model-a", "input_messages": [{"role": "user"}]}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that double from a millisecond instead of a tenth of a second."""
    monkeypatch.setattr(sender, "FIRST_PAUSE_S", 0.001)


def client(api: Api, role: str, base: str | None = None, **how: Any) -> LedgerClient:
    """Make a client with the token of this role."""
    return LedgerClient(base or api.base, api.tokens[role], **how)


def test_a_request_lives_through_the_client(fresh_api: Api) -> None:
    """A request is recommended, opened, decided, confirmed and communicated; each receipt is the chain's own."""
    api = fresh_api
    with client(api, "advisor") as advisor, client(api, "agent") as agent, client(api, "compliance") as second:
        first = advisor.request_recommendation(**ASK)
        earlier = agent.record_recommendation(first.request_id, **ANSWER)
        asked = advisor.request_recommendation(**ASK, objectives=["income"])
        context = agent.context(asked.request_id)
        assert [one["id"] for one in context.earlier] == [earlier.recommendation_id]
        with agent.model_call(asked.request_id, **CALL, shown=context.shown, as_of=context.as_of) as call:
            call.complete([{"role": "assistant"}], finish_reasons=["stop"])
        made = agent.record_recommendation(asked.request_id, **ANSWER, model_call_id=call.model_call_id)
        found = advisor.wait_for_recommendation(asked.request_id)
        assert (found["id"], found["model_call_id"]) == (made.recommendation_id, call.model_call_id)
        opened = advisor.open(found["id"], found["digest"])
        assert (opened.state, opened.digest) == ("proposed", found["digest"])
        decided = advisor.decide(
            found["id"],
            digest=found["digest"],
            outcome="edit",
            reason_code="client-circumstances",
            rationale="needs cash",
            replacement={"weights": {"bonds": "0.1000", "cash": "0.9000"}},
        )
        digest = decided.digest
        if decided.needs_second:
            with pytest.raises(LedgerProblem, match="same-person"):
                advisor.confirm(decided.decision_id, digest=digest, outcome="approve")
            digest = second.confirm(decided.decision_id, digest=digest, outcome="approve").digest
        told = advisor.communicate(found["id"], digest=digest, channel="phone", message="told them")
        assert (told.state, told.receipt.location) == ("communicated", f"/recommendations/{found['id']}")
        assert (told.receipt.position, told.receipt.hash) == api.head()
        listed = [row["id"] for row in advisor.recommendations(client_id="client-1")]
        assert listed == [made.recommendation_id, earlier.recommendation_id]
        assert advisor.recommendation(found["id"], as_of=made.receipt.position)["state"] == "proposed"


def test_a_subject_with_several_roles_acts_in_the_one_that_the_client_names(fresh_api: Api) -> None:
    """Without `role`, a command that both roles may give is refused; with it, the command is given in that role."""
    api = fresh_api
    record(api.url, "compliance", SubjectRoleGranted(role="advisor"))
    named = LedgerClient(api.base, api.tokens["compliance"], role="advisor")
    with client(api, "compliance") as unsaid, named as advisor:
        eventually("the second role", lambda: unsaid.get("/me")["role"] is None)
        with pytest.raises(LedgerProblem, match="choose-role"):
            unsaid.post("/clients", {"client_id": "client-1"})
        number = advisor.post("/clients", {"client_id": "client-1"})["client"]
        assert advisor.get("/me")["role"] == "advisor"
    assert api.get(f"/clients/{number}", "advisor").json()["registered_by"] == "compliance"


def test_an_administrator_registers_and_ends_an_identity(fresh_api: Api) -> None:
    """An identity belongs to one subject until it is revoked. The same command with its key is recorded once."""
    api = fresh_api
    where: dict[str, Any] = {"issuer": "https://id.example", "expires_at": "2040-01-01T00:00:00Z"}
    with client(api, "admin") as admin:
        first = admin.register_identity("advisor", "ada", **where, idempotency_key="one")
        assert first == {"subject": "advisor", "credential": 2}
        assert admin.register_identity("advisor", "ada", **where, idempotency_key="one") == first
        for subject in ("advisor", "compliance"):
            with pytest.raises(LedgerProblem, match="identity-registered"):
                admin.register_identity(subject, "ada", issuer="https://id.example")
        assert admin.revoke_credential("advisor", 2, reason="left")["event"] == "credential.revoked"
        eventually("the end", lambda: _is_free(admin))
        with pytest.raises(LedgerProblem, match="invalid"):
            admin.register_identity("advisor", "eve")  # no provider in the settings
        for issuer in ("http://id.example", "id.example"):
            with pytest.raises(LedgerProblem, match="invalid"):
                admin.register_identity("advisor", "eve", issuer=issuer)
        with pytest.raises(LedgerProblem, match="invalid"):
            admin.register_identity("agent", "eve", issuer="https://id.example")
        assert admin.subject_changes(state="pending") == []
        with pytest.raises(LedgerProblem, match="change-unknown"):
            admin.confirm_subject_change(1, rationale="r")
        with pytest.raises(LedgerProblem, match="change-unknown"):
            admin.decline_subject_change(1, rationale="r")


def _is_free(admin: LedgerClient) -> bool:
    """Return True once the identity could be registered to somebody else: servers hold to a revocation in a second."""
    try:
        return bool(admin.register_identity("compliance", "ada", issuer="https://id.example")["credential"])
    except LedgerProblem:
        return False


def test_a_stale_decision_names_what_is_current(api: Api) -> None:
    """A decision on an outdated digest is refused with the current one."""
    with client(api, "advisor") as advisor, client(api, "agent") as agent:
        made = agent.record_recommendation(advisor.request_recommendation(**ASK).request_id, **ANSWER)
        current = advisor.recommendation(made.recommendation_id)["digest"]
        with pytest.raises(LedgerProblem) as caught:
            advisor.decide(made.recommendation_id, digest="0" * 64, outcome="approve")
        assert (caught.value.slug, caught.value.current_digest) == ("digest-mismatch", current)


def test_messages_come_back_exactly(api: Api) -> None:
    """Any JSON is recorded unchanged, including nulls, empty containers and all scripts."""
    said: list[Any] = [
        {"content": None, "parts": [], "text": "\u202e\u0001 日本 👩\u200d👩", "n": {"x": [None, 1.5, True, ""]}}
    ]
    with client(api, "advisor") as advisor, client(api, "agent") as agent:
        request_id = advisor.request_recommendation(**ASK).request_id
        with agent.model_call(request_id, **{**CALL, "input_messages": said}, system_instructions=said) as call:
            call.complete(said)
    found = api.get(f"/model-calls/{call.model_call_id}").json()
    assert found["started"] == {"input_messages": said, "system_instructions": said}
    assert found["ended"] == {"output_messages": said}


@pytest.mark.parametrize("lost", [1, 3])
def test_a_lost_answer_is_recorded_once(api: Api, lost: int) -> None:
    """A write whose answer was lost is sent again and recorded once."""
    before, _ = api.head()
    with relaying(api.base) as relay, client(api, "advisor", relay.base) as advisor:
        relay.answers_to_lose = lost
        asked = advisor.request_recommendation(**ASK)
    assert relay.lost == [202] * lost
    assert len({(key, body) for _, key, body in relay.seen}) == 1
    assert (asked.receipt.position, asked.receipt.hash) == (before + 1, api.head()[1])
    assert api.head()[0] == before + 1


def test_lost_answers_around_a_call_are_recorded_once(api: Api) -> None:
    """Start and completion are one event each, however often they were sent."""
    request_id = api.asked()
    before, _ = api.head()
    with relaying(api.base) as relay, client(api, "agent", relay.base) as agent:
        relay.answers_to_lose = 2
        with agent.model_call(request_id, **CALL) as call:
            relay.answers_to_lose = 2
            call.complete("out")
    assert relay.lost == [201] * 4
    assert call.receipt is not None
    assert call.receipt.ended is not None
    assert (call.receipt.started.position, call.receipt.ended.position) == (before + 1, before + 2)
    assert api.head() == (before + 2, call.receipt.ended.hash)


def test_no_answer_at_all_leaves_the_outcome_open(api: Api) -> None:
    """The caller learns that the result is unknown. The same key later returns it and records nothing twice."""
    before, _ = api.head()
    with relaying(api.base) as relay, client(api, "advisor", relay.base, retries=1) as advisor:
        relay.answers_to_lose = 2
        with pytest.raises(Unreachable):
            advisor.request_recommendation(**ASK, idempotency_key="the-key")
        asked = advisor.request_recommendation(**ASK, idempotency_key="the-key")
    assert asked.receipt.position == before + 1 == api.head()[0]


def test_an_end_that_is_lost_for_good_is_an_orphan(api: Api) -> None:
    """If the server goes away during a call, the caller keeps the answer and the ledger lists the call as open."""
    request_id = api.asked()
    with relaying(api.base) as relay, client(api, "agent", relay.base, retries=1) as agent:
        call = agent.model_call(request_id, **CALL)
        call.__enter__()
        relay.target = "http://127.0.0.1:9"  # where nobody listens
        call.complete("out")
        with pytest.raises(NotRecorded):
            call.__exit__(None, None, None)
    assert call.result is not None
    listed = api.items("/model-calls", state="open", request_id=request_id)
    assert [row["id"] for row in listed] == [call.model_call_id]


def test_a_suspended_agent_calls_no_model(fresh_api: Api) -> None:
    """A suspension keeps the block from running, fail_closed or not; a call in progress may still end."""
    api = fresh_api
    request_id = api.asked()
    ran: list[str] = []
    with client(api, "agent") as agent:
        with agent.model_call(request_id, **CALL) as call:
            stop = api.call("POST", "/agents/agent/suspensions", "compliance", json={"reason": "wrong numbers"})
            assert stop.status_code == 201, stop.text
            call.complete("out")
        again = agent.model_call(request_id, **CALL, fail_closed=False)
        with pytest.raises(NotRecorded, match="agent-suspended"), again:
            ran.append("the model")
    assert ran == []


def test_a_large_answer_is_recorded(api: Api) -> None:
    """A prompt of 5 MB and an answer of the same size are recorded."""
    text = "日本 \u0007" * 500_000
    request_id = api.asked()
    with client(api, "agent", timeout_s=120) as agent:
        call = agent.model_call(request_id, **{**CALL, "input_messages": text})
        with call:
            call.complete(text)
    found = api.get(f"/model-calls/{call.model_call_id}").json()
    assert len(json.dumps(text, ensure_ascii=False).encode()) > 5_000_000
    assert (found["started"]["input_messages"], found["ended"]["output_messages"]) == (text, text)


def test_an_agent_may_fail_a_request(fresh_api: Api) -> None:
    """A failed request has its reason in clear and its detail sealed; no recommendation can follow."""
    api = fresh_api
    with client(api, "advisor") as advisor, client(api, "agent") as agent:
        asked = advisor.request_recommendation(**ASK)
        assert [(row["request_id"], row["claimed"]) for row in agent.assignments()] == [(asked.request_id, False)]
        ends = agent.claim(asked.request_id, lease_s=600)["claim_expires_at"]
        assert agent.claim(asked.request_id)["claim_expires_at"] == ends
        assert [(row["claimed"], row["claim_expires_at"]) for row in agent.assignments()] == [(True, ends)]
        failed = agent.fail_request(asked.request_id, reason="not-suitable", detail="nothing suits")
        assert agent.assignments() == []
        assert (failed.request_id, failed.status) == (asked.request_id, "failed")
        row = advisor.get_request(asked.request_id)
        assert (row["status"], row["failure_reason"], row["failure_detail"]) == (
            "failed",
            "not-suitable",
            "nothing suits",
        )
        with pytest.raises(LedgerProblem, match="request-failed"):
            agent.record_recommendation(asked.request_id, **ANSWER)
        with pytest.raises(LedgerProblem, match="wrong-role"):
            advisor.fail_request(asked.request_id, reason="not-suitable")
