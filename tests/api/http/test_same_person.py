"""F1, from end to end: a person or an agent stays who it is, whatever happens to its tokens and roles."""

from __future__ import annotations

import pytest

from tests.api.acting import CALL, SENSITIVE, Acting, second_tokens
from tests.api.http.test_subjects import LATER, Office
from tests.api.served import ANSWER, ASK, ASKS, Api, problem
from tests.support import eventually


def rotate(api: Api, name: str) -> str:
    """Issue a token in the place of the caller's; return its new key among the tokens."""
    token = Office(api, name).done("credentials", replaces=1)["token"]
    api.tokens[f"{name} again"] = str(token)
    eventually("the new token works", lambda: api.get("/me", f"{name} again").status_code == 200)
    return f"{name} again"


@pytest.fixture(scope="module")
def acting(api: Api) -> Acting:
    """Commands, with a second subject for each role."""
    second_tokens(api)
    return Acting(api)


def test_nobody_confirms_their_own_decision(acting: Acting) -> None:
    """Not with a rotated token, not in another role, not with a second token; another person does."""
    api = acting.api
    decided = acting.decided(acting.proposed(), **SENSITIVE)
    assert decided["needs_second"]
    again = rotate(api, "advisor")
    assert Office(api, "advisor").post("roles", role="compliance").status_code == 201
    other = Office(api, "advisor").done("credentials", expires_at=LATER)["token"]
    eventually("two roles", lambda: len(api.get("/me", again).json()["roles"]) == 2)
    api.tokens["other"] = other
    body = {"digest": decided["digest"], "outcome": "approve"}
    with api.records_nothing():
        for caller in (again, "other"):
            for role in ("advisor", "compliance"):
                path = f"/decisions/{decided['decision_id']}/confirmations"
                found = api.call("POST", path, caller, json=body, headers={"Ledger-Role": role})
                problem(found, 409, "same-person")
    assert acting.confirm(decided).status_code == 201
    row = api.get(f"/decisions/{decided['decision_id']}").json()
    assert (row["decided_by"], row["confirmed_by"]) == ("advisor", "advisor2")


def test_a_suspended_agent_is_not_back_with_a_new_token(acting: Acting) -> None:
    """Neither a new nor a rotated token of the subject starts calls or answers; its open call ends with either."""
    api = acting.api
    request = int(acting.post(ASKS, "advisor2", ASK).json()["request_id"])
    calls = [acting.started(request, "agent") for _ in range(2)]
    assert acting.command("agent", "suspensions").status_code == 201
    fresh = Office(api, "agent").done("credentials")["token"]
    api.tokens["fresh agent"] = fresh
    rotated = Office(api, "agent").done("credentials", replaces=1)["token"]
    api.tokens["rotated agent"] = rotated
    eventually("the old token ends", lambda: api.get("/me", "agent").status_code == 401)
    with api.records_nothing():
        for caller in ("fresh agent", "rotated agent"):
            eventually("it is suspended", lambda caller=caller: api.get("/me", caller).status_code == 403)
            for what, body in (("model-calls", CALL), ("recommendations", ANSWER)):
                problem(acting.post(f"/portfolio/requests/{request}/{what}", caller, body), 409, "agent-suspended")
    for call, caller in zip(calls, ("fresh agent", "rotated agent"), strict=True):
        assert acting.end(call, role=caller).status_code == 201
    rows = api.get("/model-calls", request_id=request).json()["items"]
    assert {(row["agent"], row["state"]) for row in rows} == {("agent", "completed")}
