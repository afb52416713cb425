"""Taking back over HTTP: who may, what is refused by name and records nothing, and what rows show afterwards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ledger.domain.subject import ROLES
from tests.api.acting import EDIT, LARGE, REJECT, RESPOND, SENSITIVE, Acting, second_tokens
from tests.api.served import Api, fields, problem

UNKNOWN = 2**53 - 1
WHY: dict[str, Any] = {"reason_code": "data-entry-error", "rationale": "a zero too many"}
# Each command: its path, the roles that may send it, and the refusal of an unknown id.
COMMANDS = {
    "withdraw the request": ("/portfolio/requests/{}/withdrawals", {"advisor", "compliance"}, "request-unknown"),
    "withdraw": ("/decisions/{}/withdrawals", {"advisor"}, "decision-unknown"),
    "revoke": ("/decisions/{}/revocations", {"advisor", "compliance"}, "decision-unknown"),
}


@pytest.fixture(scope="module")
def act(api: Api) -> Acting:
    """With two tokens of each role, and the policies on record."""
    second_tokens(api)
    found = Acting(api)
    found.decided(found.proposed())
    return found


def send(act: Acting, what: str, about: int, role: str | None = "advisor", key: str | None = None, **how: Any) -> Any:
    """Send one of the commands."""
    return act.post(COMMANDS[what][0].format(about), role, {**WHY, **how}, key)


def decision_of(act: Acting, decision_id: int) -> dict[str, Any]:
    """Read a decision."""
    found: dict[str, Any] = act.api.get(f"/decisions/{decision_id}").json()
    return found


@pytest.mark.parametrize("what", COMMANDS)
def test_who_may_take_back_what(api: Api, act: Acting, what: str) -> None:
    """Other roles get 403, unknown ids 404; a reason outside the list, or `other` without words, is 422 by name."""
    _, roles, unknown = COMMANDS[what]
    with api.records_nothing():
        for role in set(ROLES) - roles:
            problem(send(act, what, UNKNOWN, role), 403, "wrong-role")
        for role in roles:
            problem(send(act, what, UNKNOWN, role), 404, unknown)
        assert fields(problem(send(act, what, UNKNOWN, reason_code="whim"), 422, "invalid")) == ["reason_code"]
        lacking = send(act, what, UNKNOWN, reason_code="other", rationale=None)
        if what != "withdraw":  # which looks for the decision first
            assert fields(problem(lacking, 422, "invalid")) == ["rationale"]


def test_a_waiting_decision_is_withdrawn_by_its_maker(api: Api, act: Acting) -> None:
    """Others are refused; afterwards it cannot be confirmed, and the recommendation can be decided on anew."""
    at = act.proposed(amount_usd=LARGE)
    made = act.decided(at)
    with api.records_nothing():
        problem(send(act, "withdraw", made["decision_id"], "advisor2"), 409, "decision-of-another")
        problem(send(act, "revoke", made["decision_id"]), 409, "nothing-to-revoke")
    with act.records(1):
        first = send(act, "withdraw", made["decision_id"], key="w1")
        assert first.status_code == 201, first.text
        assert send(act, "withdraw", made["decision_id"], key="w1").text == first.text
    assert first.json() == {
        "recommendation_id": at,
        "state": "proposed",
        "digest": act.digest(at),
        "decision_id": made["decision_id"],
    }
    with api.records_nothing():
        problem(act.confirm(made), 409, "nothing-to-confirm")
        problem(send(act, "withdraw", made["decision_id"]), 409, "nothing-to-withdraw")
    row = decision_of(act, made["decision_id"])
    assert (row["state"], row["ended_by"], row["end_reason"]) == ("withdrawn", "advisor", "data-entry-error")
    assert (row["end_rationale"], row["end_id"]) == (WHY["rationale"], int(first.headers["ledger-position"]))
    assert act.decided(at)["needs_second"]


@pytest.mark.parametrize("decision", [{}, EDIT, REJECT, SENSITIVE], ids=["approve", "edit", "reject", "confirmed"])
def test_a_decision_in_force_is_revoked_until_the_client_was_told(
    api: Api, act: Acting, decision: dict[str, Any]
) -> None:
    """The recommendation is proposed again as the agent gave it; after a communication nothing is revoked."""
    at = act.proposed()
    original = act.digest(at)
    made = act.decided(at, **decision)
    if made["needs_second"]:
        assert act.confirm(made).status_code == 201
    answer = send(act, "revoke", made["decision_id"], "compliance")
    assert (answer.status_code, answer.json()["state"], answer.json()["digest"]) == (201, "proposed", original)
    assert decision_of(act, made["decision_id"])["state"] == "revoked"
    row = act.row(at)
    assert (row["state"], row["decision_id"], row["digest"]) == ("proposed", None, original)
    again = act.decided(at)
    assert act.tell(at).status_code == 201
    with api.records_nothing():
        problem(send(act, "revoke", again["decision_id"]), 409, "recommendation-communicated")
        problem(send(act, "revoke", made["decision_id"]), 409, "recommendation-communicated")
        problem(send(act, "withdraw the request", row["request_id"]), 409, "recommendation-communicated")


def test_a_response_is_not_revoked(api: Api, act: Acting) -> None:
    """It decides nothing; the agent is asked again already."""
    made = act.decided(act.proposed(), **RESPOND)
    with api.records_nothing():
        problem(send(act, "revoke", made["decision_id"]), 409, "nothing-to-revoke")


def test_a_withdrawn_request_takes_nothing_more(api: Api, act: Acting) -> None:
    """No call, answer, failure, claim, decision, confirmation or communication; the row says why and what replaces it.

    An agent may still end the call that it had open: that is evidence of what happened.
    """
    new = api.asked()
    at = act.proposed(amount_usd=LARGE)
    request_id = act.row(at)["request_id"]
    made = act.decided(at)
    digest = act.digest(at)
    with api.records_nothing():
        for wrong in (request_id, UNKNOWN):
            found = send(act, "withdraw the request", request_id, replaced_by=wrong)
            assert fields(problem(found, 422, "invalid")) == ["replaced_by"]
    answer = send(act, "withdraw the request", request_id, replaced_by=new)
    assert (answer.status_code, answer.json()) == (201, {"request_id": request_id, "status": "withdrawn"})
    with api.records_nothing():
        problem(send(act, "withdraw the request", request_id), 409, "request-withdrawn")
        problem(act.decide(at, digest=digest), 409, "request-withdrawn")
        problem(act.confirm(made), 409, "request-withdrawn")
        problem(send(act, "withdraw", made["decision_id"]), 409, "request-withdrawn")
        problem(send(act, "revoke", made["decision_id"]), 409, "request-withdrawn")
        problem(act.tell(at, digest=digest), 409, "request-withdrawn")
        problem(api.answer(request_id), 409, "request-withdrawn")
        problem(act.start(request_id), 409, "request-withdrawn")
        problem(act.fail(request_id), 409, "request-withdrawn")
        problem(act.claim(request_id), 409, "request-withdrawn")
        found = send(act, "withdraw the request", new, replaced_by=request_id)
        assert fields(problem(found, 422, "invalid")) == ["replaced_by"]
    assert act.open(at).status_code == 201
    row = api.get(f"/portfolio/requests/{request_id}").json()
    shown = ("status", "withdrawn_by", "withdrawal_reason", "withdrawal_rationale", "replaced_by")
    assert [row[name] for name in shown] == ["withdrawn", "advisor", WHY["reason_code"], WHY["rationale"], new]
    assert (act.row(at)["state"], decision_of(act, made["decision_id"])["state"]) == ("withdrawn", "withdrawn")
    assert request_id in [one["id"] for one in api.items("/portfolio/requests", status="withdrawn")]


def test_an_open_call_of_a_withdrawn_request_may_end(api: Api, act: Acting) -> None:
    """The request is no assignment any more."""
    request_id = api.asked()
    call = act.started(request_id)
    assert send(act, "withdraw the request", request_id).status_code == 201
    assert act.end(call).status_code == 201
    waiting = api.get("/assignments", "agent").json()["items"]
    assert request_id not in [one["request_id"] for one in waiting]


def test_of_two_requests_that_replace_each_other_one_stands(api: Api, act: Acting) -> None:
    """Sent at the same moment, one withdrawal is recorded and the other refused."""
    one, two = api.asked(), api.asked()
    with act.records(1), ThreadPoolExecutor(2) as pool:
        pairs = [(one, two), (two, one)]
        found = list(pool.map(lambda pair: send(act, "withdraw the request", pair[0], replaced_by=pair[1]), pairs))
    assert sorted(answer.status_code for answer in found) == [201, 422]


def test_reasons_that_say_nothing_about_the_model_are_not_in_the_rate(fresh_api: Api) -> None:
    """A rejection because the client withdrew is counted apart; a revoked one is not counted at all."""
    act = Acting(fresh_api)
    for decision in ({}, {**REJECT, "reason_code": "client-withdrew"}, {**REJECT, "reason_code": "data-entry-error"}):
        act.decided(act.proposed(), **decision)
    revoked = act.decided(act.proposed(), **REJECT)
    act.decided(act.proposed(), **REJECT)
    assert send(act, "revoke", revoked["decision_id"]).status_code == 201
    [row] = fresh_api.get("/reports/override-rates", "compliance").json()["items"]
    counted = {name: row[name] for name in ("decisions", "rejected", "overrides", "not_about_model")}
    assert counted == {"decisions": 4, "rejected": 3, "overrides": 1, "not_about_model": 2}
    assert float(row["override_rate"]) == 0.5
