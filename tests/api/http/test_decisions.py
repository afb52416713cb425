"""Opening, deciding, confirming, telling: each route in order 401, 403, 404 or 409, success; and who wins a race."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from ledger.domain.subject import ROLES
from ledger.service.policies import Policies
from tests.api.acting import EDIT, LARGE, REJECT, RESPOND, SENSITIVE, WEIGHTS, Acting, answer_of, second_tokens
from tests.api.served import Api, fields, ledger_copy, problem, served
from tests.conftest import Template
from tests.support import connect

UNKNOWN = 2**53 - 1
ELSEWHERE = "e" * 64
ADOPTED = "SELECT body::json->'data'->>'version' FROM events WHERE stream = 'policy-four-eyes' ORDER BY version"
# The members of each command, and the roles that may send it.
WRITES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "openings": ({"digest": ELSEWHERE}, {"advisor", "compliance"}),
    "decisions": ({"digest": ELSEWHERE, "outcome": "approve"}, {"advisor"}),
    "confirmations": ({"digest": ELSEWHERE, "outcome": "approve"}, {"advisor", "compliance"}),
    "communications": ({"digest": ELSEWHERE, "channel": "letter"}, {"advisor"}),
}


def path_of(write: str, about: int) -> str:
    """The path of a command about this decision, if it is a confirmation, or else about this recommendation."""
    return f"/{'decisions' if write == 'confirmations' else 'recommendations'}/{about}/{write}"


def unknown(write: str) -> str:
    """The name of the refusal of an id that nothing has."""
    return "decision-unknown" if write == "confirmations" else "recommendation-unknown"


@pytest.fixture(scope="module")
def act(api: Api) -> Acting:
    """With two tokens of each role, and the policies on record."""
    second_tokens(api)
    found = Acting(api)
    found.decided(found.proposed())
    return found


# 401, 403, 404, 422


@pytest.mark.parametrize("write", WRITES)
def test_only_permitted_roles_write_decisions(api: Api, act: Acting, write: str) -> None:
    """No or an unknown token: 401; another role: 403 that names those that may, whatever the id and body."""
    body, roles = WRITES[write]
    path = path_of(write, UNKNOWN)
    with api.records_nothing():
        problem(act.post(path, None, body), 401, "no-token")
        problem(api.call("POST", path, None, json=body, headers={"Authorization": "Bearer x"}), 401, "unknown-token")
        for role in set(ROLES) - roles:
            found = problem(act.post(path, role, {"not": "good"}), 403, "wrong-role")
            assert all(name in found["detail"] for name in {role, *roles})
        for role in roles:
            problem(act.post(path, role, body), 404, unknown(write))


@pytest.mark.parametrize("write", WRITES)
def test_ids_of_other_things_are_unknown(api: Api, act: Acting, write: str) -> None:
    """The position of a request is no id here, nor a decision's that of a recommendation, nor the other way round."""
    body, _ = WRITES[write]
    recommendation = act.proposed()
    other = recommendation if write == "confirmations" else act.decided(recommendation)["decision_id"]
    with api.records_nothing():
        for position in (1, other):
            problem(act.post(path_of(write, position), "advisor", body), 404, unknown(write))
        problem(act.post(path_of(write, 0), "advisor", body), 422, "invalid")


BAD: list[tuple[str, dict[str, Any], str]] = [
    *[(write, {"digest": digest}, "digest") for write in WRITES for digest in ("", "E" * 64, "e" * 63, None, 5)],
    *[(write, {"more": 1}, "more") for write in WRITES],
    ("decisions", {"outcome": "maybe"}, "outcome"),
    ("decisions", {"rationale": ""}, "rationale"),
    ("decisions", {"rationale": "x" * 20_001}, "rationale"),
    ("decisions", {"reason_code": "House View"}, "reason_code"),
    ("decisions", {"replacement": []}, "replacement"),
    ("decisions", {"outcome": "respond"}, "response"),
    ("decisions", {"response": "look"}, "response"),
    ("decisions", {"reason_code": "house-view"}, "reason_code"),
    ("decisions", {**REJECT, "reason_code": "nonsense"}, "reason_code"),
    ("decisions", {**EDIT, "reason_code": "client-withdrew"}, "reason_code"),
    ("decisions", {**EDIT, "rationale": None}, "rationale"),
    ("decisions", {**EDIT, "replacement": None}, "replacement"),
    ("confirmations", {"outcome": "reject"}, "outcome"),
    ("confirmations", {"rationale": ""}, "rationale"),
    ("communications", {"channel": "pigeon"}, "channel"),
    ("communications", {"message": "x" * 20_001}, "message"),
]


@pytest.mark.parametrize(("write", "change", "field"), BAD)
def test_what_is_malformed_is_422_by_field(
    api: Api, act: Acting, write: str, change: dict[str, Any], field: str
) -> None:
    """Each field out of bounds, unknown, or not going with the outcome is refused by its name."""
    body, _ = WRITES[write]
    recommendation = act.proposed()
    about = act.decided(recommendation)["decision_id"] if write == "confirmations" else recommendation
    with api.records_nothing():
        found = problem(act.post(path_of(write, about), "advisor", {**body, **change}), 422, "invalid")
    assert fields(found) == [field]


# 409


def test_what_is_not_current_is_refused_with_what_is(api: Api, act: Acting) -> None:
    """Another digest, and a superseded id, get a 409 with the current id and digest."""
    at = act.proposed()
    now = act.digest(at)
    request_id = act.row(at)["request_id"]
    with api.records_nothing():
        for found in (act.decide(at, digest=ELSEWHERE), act.open(at, digest=ELSEWHERE)):
            facts = problem(found, 409, "digest-mismatch")
            assert (facts["current_recommendation_id"], facts["current_digest"]) == (at, now)
    decision = act.decided(at, **REJECT)["decision_id"]
    new = api.answered(request_id, supersedes=at)
    with api.records_nothing():
        for write, (body, _) in WRITES.items():
            path = path_of(write, decision if write == "confirmations" else at)
            facts = problem(act.post(path, "advisor", {**body, "digest": now}), 409, "recommendation-superseded")
            assert (facts["current_recommendation_id"], facts["current_digest"]) == (new, act.digest(new))
            assert facts["state"] == "proposed"
    assert (act.row(at)["state"], act.row(at)["superseded_by"], act.row(new)["supersedes"]) == ("superseded", new, at)


# Moves a tenth of the money, which needs no confirmation by the packaged policy.
SMALL_CHANGE = {"weights": {"cash": "0.9000", "bonds": "0.1000"}}


def test_a_decision_is_taken_once(api: Api, act: Acting) -> None:
    """A recommendation that is decided or waits takes no other decision; the refusal has its state."""
    for how, state, slug in (
        ({}, "approved", "recommendation-decided"),
        (EDIT | {"replacement": SMALL_CHANGE}, "edited", "recommendation-decided"),
        (REJECT, "rejected", "recommendation-decided"),
        (RESPOND, "returned", "recommendation-decided"),
        (SENSITIVE, "waiting", "recommendation-waiting"),
    ):
        at = act.proposed()
        assert act.decided(at, **how)["state"] == state
        with api.records_nothing():
            for other in ({}, EDIT, REJECT, RESPOND):
                assert problem(act.decide(at, "advisor2", **other), 409, slug)["state"] == state


def test_what_nobody_approved_is_not_communicated(api: Api, act: Acting) -> None:
    """Proposed, waiting, rejected and returned: 409 not-approved; and what was communicated is so once."""
    for how in (None, SENSITIVE, REJECT, RESPOND):
        at = act.proposed()
        if how is not None:
            act.decided(at, **how)
        with api.records_nothing():
            problem(act.tell(at), 409, "not-approved")
    at = act.proposed()
    act.decided(at)
    assert act.tell(at).json() == {"recommendation_id": at, "state": "communicated", "digest": act.digest(at)}
    with api.records_nothing():
        problem(act.tell(at), 409, "recommendation-communicated")
        problem(act.decide(at), 409, "recommendation-decided")
        problem(act.tell(at, digest=ELSEWHERE), 409, "recommendation-communicated")


def test_after_it_was_communicated_only_a_superseding_answer_comes(api: Api, act: Acting) -> None:
    """An answer that does not name it is refused; an answer that names it is accepted and proposed."""
    at = act.proposed()
    act.decided(at)
    assert act.tell(at).status_code == 201
    request_id = act.row(at)["request_id"]
    with api.records_nothing():
        problem(api.answer(request_id), 409, "request-finished")
    before = act.row(at)
    new = api.answered(request_id, supersedes=at)
    after = act.row(at)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"state", "superseded_by", "updated_at"}
    assert act.row(new)["state"] == "proposed"


# Success


def test_an_edit_under_four_eyes_from_request_to_communicated(api: Api, act: Acting) -> None:
    """The whole story: opened, edited, waiting, approved by another, told; before and after stand side by side."""
    at = act.proposed()
    original = act.row(at)
    assert act.open(at).json() == {"recommendation_id": at, "state": "proposed", "digest": original["digest"]}
    decided = act.decide(at, **{**EDIT, "reason_code": "other"})
    found = decided.json()
    assert decided.headers["location"] == f"/decisions/{found['decision_id']}"
    assert int(decided.headers["ledger-position"]) == found["decision_id"] == api.head()[0]
    assert decided.headers["ledger-hash"] == api.head()[1]
    assert found["digest"] != original["digest"]
    assert {**found, "digest": None} == {
        "recommendation_id": at,
        "decision_id": found["decision_id"],
        "state": "waiting",
        "digest": None,
        "needs_second": True,
        "second_rules": ["large-change", "sensitive-reason"],
    }
    assert act.digest(at) == original["digest"]
    with api.records_nothing():
        problem(act.confirm(found, "advisor"), 409, "same-person")
        refused = problem(act.confirm(found, digest=original["digest"]), 409, "digest-mismatch")
        assert refused["current_digest"] == found["digest"]
        problem(act.confirm({**found, "decision_id": at}), 404, "decision-unknown")
    confirmed = act.confirm(found, "compliance", rationale="agreed")
    standing = {"recommendation_id": at, "digest": found["digest"]}
    assert confirmed.status_code == 201
    assert confirmed.json() == {**standing, "decision_id": found["decision_id"], "state": "edited"}
    with api.records_nothing():
        problem(act.confirm(found, "compliance2"), 409, "nothing-to-confirm")
        problem(act.tell(at, digest=original["digest"]), 409, "digest-mismatch")
    told = act.tell(at, message="Dear client").json()
    assert told == {**standing, "state": "communicated"}
    row = act.row(at)
    assert (row["recommendation"], row["replacement"]) == (original["recommendation"], WEIGHTS)
    assert (row["state"], row["digest"], row["replacement_digest"]) == (
        "communicated",
        found["digest"],
        found["digest"],
    )
    assert (row["opened_by"], row["decided_by"], row["confirmed_by"]) == ("advisor", "advisor", "compliance")
    assert (row["reason_code"], row["reason_group"], row["rationale"]) == ("other", "other", "safer")
    decision = api.get(f"/decisions/{found['decision_id']}").json()
    assert (decision["digest"], decision["replacement_digest"]) == (original["digest"], found["digest"])
    assert (decision["state"], decision["confirmation"], decision["second_rationale"]) == (
        "effective",
        "approve",
        "agreed",
    )
    assert decision["opened_at"] == row["opened_at"] < decision["created_at"] < decision["confirmed_at"]
    assert float(decision["seconds_to_decide"]) > 0


def test_an_edit_is_as_the_agents_answers_have_to_be(api: Api, act: Acting) -> None:
    """Where the agent's schema says so, a replacement whose weights do not sum to 1 is refused, naming the field."""
    assert act.command("agent2", "registrations").status_code == 201
    made = api.answer(api.asked(), "agent2", **answer_of("1"))
    at = made.json()["recommendation_id"]
    for wrong in (WEIGHTS, answer_of("1.39")["recommendation"], answer_of("1", "250000.49")["recommendation"]):
        with api.records_nothing():
            found = problem(act.decide(at, **{**EDIT, "replacement": wrong}), 422, "answer-off-schema")
        assert fields(found) == ["replacement.allocations"]
    right = {"allocations": [{"asset": "bonds", "weight": "1", "amount_usd": "250000.50"}]}
    assert act.decided(at, **{**EDIT, "replacement": right})["second_rules"] == ["large-change"]


def test_what_is_declined_is_proposed_again(api: Api, act: Acting) -> None:
    """The declined decision stays on record, and the same or another person may decide anew."""
    at = act.proposed(amount_usd=LARGE)
    first = act.decided(at)
    assert (first["state"], first["second_rules"]) == ("waiting", ["large-amount"])
    with api.records_nothing():
        assert fields(problem(act.confirm(first, "compliance", outcome="decline"), 422, "invalid")) == ["rationale"]
    declined = act.confirm(first, "compliance", outcome="decline", rationale="ask the client")
    assert declined.json()["state"] == "proposed"
    decline = {
        "decline_id": int(declined.headers["ledger-position"]),
        "declined_by": "compliance",
        "decline_rationale": "ask the client",
    }
    row = act.row(at)
    assert (row["decision_id"], row["declines"]) == (None, 1)
    assert {name: row[name] for name in decline} == decline
    second = act.decided(at, "advisor2")
    shown = api.get(f"/decisions/{second['decision_id']}").json()
    assert {name: shown[name] for name in decline} == decline
    assert shown["earlier_declines"] == 1
    assert api.get(f"/decisions/{first['decision_id']}").json()["earlier_declines"] == 0
    assert act.confirm(second, "advisor").json()["state"] == "approved"
    rows = api.items("/decisions", recommendation_id=at)
    assert [(row["id"], row["state"]) for row in rows] == [
        (second["decision_id"], "effective"),
        (first["decision_id"], "declined"),
    ]
    assert [row["id"] for row in api.items("/decisions", recommendation_id=at, state="declined")] == [rows[1]["id"]]


def test_a_response_brings_the_next_answer(api: Api, act: Acting) -> None:
    """The request is queued again, the next answer supersedes by itself, and the remark stays to be read."""
    at = act.proposed(amount_usd=LARGE)
    request_id = act.row(at)["request_id"]
    assert act.decided(at, **RESPOND)["needs_second"] is False
    assert api.get(f"/portfolio/requests/{request_id}").json()["status"] == "queued"
    new = api.answered(request_id)
    assert api.get(f"/portfolio/requests/{request_id}").json()["status"] == "recommended"
    assert (act.row(at)["response"], act.row(at)["superseded_by"]) == (RESPOND["response"], new)
    assert act.row(new)["supersedes"] == at


def test_each_role_of_the_policy_may_confirm(api: Api, act: Acting) -> None:
    """Each role of the packaged policy confirms; the role is on record."""
    for role in Policies.packaged().four_eyes.second_roles:
        found = act.decided(act.proposed(), **SENSITIVE)
        assert act.confirm(found, f"{role}2").json()["state"] == "rejected"
        assert api.get(f"/decisions/{found['decision_id']}").json()["confirmed_role"] == role


def test_policies_are_adopted_before_the_first_decision(fresh_api: Api) -> None:
    """The texts are in the chain, once, right before the first decision made under them; a refused one adopts none."""
    act = Acting(fresh_api)
    at, other = act.proposed(), act.proposed()
    with fresh_api.records_nothing():
        problem(act.decide(at, digest=ELSEWHERE), 409, "digest-mismatch")
    with act.records(4):
        act.decided(at)
    with act.records(1):
        act.decided(other)
    with connect(fresh_api.url) as conn:
        found = conn.execute(
            "SELECT stream, body::json->'data'->'policy', body::json->'data'->>'sha256' FROM events"
            " WHERE type = 'policy.adopted' ORDER BY position"
        ).fetchall()
    # The packaged policy of signed acts has no rules, and is recorded once it ends another one.
    expected = [policy for policy in Policies.packaged().all if policy.name != "signed-acts"]
    assert found == [(policy.stream, policy.text, policy.sha256) for policy in expected]


def test_another_policy_is_on_record_before_it_bears_on_anything(
    server_url: str, template_database: Template, tmp_path: Path
) -> None:
    """Each server decides under its own policy: its text is adopted first, and its version is in the decision.

    What waits under one is confirmed by who the policy in force wants, and by nobody else.
    """
    text = {**Policies.packaged().four_eyes.policy.text, "version": "strict", "second_roles": ["compliance"]}
    strict = tmp_path / "four-eyes.json"
    strict.write_bytes(orjson.dumps(text))
    with ledger_copy(server_url, template_database) as url:
        with served(url) as api:
            second_tokens(api)
            act = Acting(api)
            at, other = act.proposed(), act.proposed()
            act.decided(other)
        with served(url, tokens=api.tokens, policies=Policies.of(strict)) as api:
            act = Acting(api)
            with act.records(2):
                found = act.decided(at, **SENSITIVE)
            with api.records_nothing():
                assert "compliance" in problem(act.confirm(found, "advisor2"), 403, "wrong-role")["detail"]
            assert act.confirm(found, "compliance").status_code == 201
            versions = {row["recommendation_id"]: row["four_eyes_version"] for row in api.items("/decisions")}
            assert versions == {at: "strict", other: Policies.packaged().four_eyes.version}
            late = act.decided(act.proposed(), **SENSITIVE)
        with served(url, tokens=api.tokens) as api:
            act = Acting(api)
            # The packaged policy is in force again and says who may confirm, so it is recorded again.
            assert act.confirm(late, "advisor2").status_code == 201
            with connect(url) as conn:
                adopted = conn.execute(ADOPTED).fetchall()
            packaged = Policies.packaged().four_eyes.version
            assert [version for (version,) in adopted] == [packaged, "strict", packaged]


# Keys


def test_commands_sent_again_are_recorded_once(api: Api, act: Acting) -> None:
    """With a key, each gives the first answer again, also when things have moved on; with other content, a 409."""
    at = act.proposed()
    digest = act.digest(at)
    opened = [act.open(at, key="o", digest=digest) for _ in range(2)]
    edit = {**EDIT, "reason_code": "other", "digest": digest}
    decided = [act.decide(at, key="d", **edit) for _ in range(2)]
    confirmed = [act.confirm(decided[0].json(), key="c", rationale="fine") for _ in range(2)]
    told = [act.tell(at, key="t", message="hello") for _ in range(2)]
    with api.records_nothing():
        again = [
            act.open(at, key="o", digest=digest),
            act.decide(at, key="d", **edit),
            act.confirm(decided[0].json(), key="c", rationale="fine"),
            act.tell(at, key="t", message="hello"),
        ]
        for first, second, third in zip(*zip(opened, decided, confirmed, told, strict=True), again, strict=True):
            assert first.status_code == 201
            for other in (second, third):
                assert (other.status_code, other.json()) == (201, first.json())
                assert other.headers["ledger-position"] == first.headers["ledger-position"]
        problem(act.decide(at, key="d", **{**edit, "rationale": "x"}), 409, "idempotency-key-reused")
        problem(act.decide(at, key="o", **edit), 409, "idempotency-key-reused")
        problem(act.confirm(decided[0].json(), key="c"), 409, "idempotency-key-reused")
        problem(act.tell(at, key="t", message="hullo"), 409, "idempotency-key-reused")
        problem(act.decide(act.row(at)["id"], "advisor2", key="d", **edit), 409, "recommendation-decided")


# Races


@pytest.mark.parametrize("attempt", range(4))
def test_of_two_who_decide_at_once_one_decides(api: Api, act: Acting, attempt: int) -> None:
    """The second decision is refused as decided, and nothing of it is recorded."""
    at = act.proposed()
    digest = act.digest(at)
    sent = [("advisor", {}), ("advisor2", REJECT), ("advisor", EDIT), ("advisor2", RESPOND)]
    with act.records(1), ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: act.decide(at, one[0], digest=digest, **one[1]), sent))
    won = [response for response in found if response.status_code == 201]
    assert len(won) == 1
    for response in found:
        if response.status_code != 201:
            slug = "recommendation-waiting" if won[0].json()["needs_second"] else "recommendation-decided"
            assert problem(response, 409, slug)["state"] == won[0].json()["state"]
    assert len(api.items("/decisions", recommendation_id=at)) == 1


@pytest.mark.parametrize("attempt", range(4))
def test_of_many_confirmers_one_confirms(api: Api, act: Acting, attempt: int) -> None:
    """Approving and declining at once: one counts, and the state is theirs."""
    found = act.decided(act.proposed(), **SENSITIVE)
    sent = [("advisor2", "approve"), ("compliance", "decline"), ("compliance2", "approve"), ("advisor", "approve")]
    with act.records(1), ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda one: act.confirm(found, one[0], outcome=one[1], rationale="so"), sent))
    assert sorted(response.status_code for response in said) == [201, 409, 409, 409]
    problem(
        said[3], 409, {True: "same-person", False: "nothing-to-confirm"}[said[3].json()["type"].endswith("same-person")]
    )
    [(by, outcome)] = [one for one, response in zip(sent, said, strict=True) if response.status_code == 201]
    decision = api.get(f"/decisions/{found['decision_id']}").json()
    assert (decision["confirmed_by"], decision["confirmation"]) == (by, outcome)


def test_one_command_many_times_at_once_is_one(api: Api, act: Acting) -> None:
    """The same key from eight threads: eight equal answers, one event."""
    at = act.proposed()
    digest = act.digest(at)
    with act.records(1), ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: act.decide(at, key="at-once", digest=digest, **SENSITIVE), range(8)))
    assert {(response.status_code, response.text) for response in found} == {(201, found[0].text)}
    assert len({response.headers["ledger-hash"] for response in found}) == 1
