"""Reviews of ranges over HTTP: what is covered, by which events, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.domain.subject import ROLES
from schema.events import SubjectRoleGranted
from tests.api.acting import SENSITIVE, Acting, second_tokens
from tests.api.http.test_samples import PERIOD, decided, drawn, queue
from tests.api.served import Api, fields, problem
from tests.subjects import record, subject

FINE: dict[str, Any] = {**PERIOD, "disposition": "no-concern"}


@pytest.fixture
def act(fresh_api: Api) -> Acting:
    """With two tokens of each role."""
    second_tokens(fresh_api)
    return Acting(fresh_api)


def review(act: Acting, role: str = "compliance", key: str | None = None, **how: Any) -> Any:
    """Review a range."""
    return act.post("/reviews", role, {**FINE, **how}, key)


def test_a_range_covers_what_was_there_and_nothing_later(act: Acting) -> None:
    """Each case gets its review in the same append; items are closed; a later decision is not reviewed."""
    mine, other = decided(act, 2)
    at = act.proposed(client_id="client-later")
    [item] = queue(act, sample=drawn(act, size=1)["sample"])
    with act.records(3):  # two cases, and the range
        made = review(act, key="r")
        assert made.status_code == 201, made.text
        assert review(act, key="r").json() == made.json()
    later = act.decided(at)["decision_id"]
    rows = {row["id"]: row for row in act.api.items("/decisions")}
    assert made.json()["cases"] == sorted(rows[one]["request_id"] for one in (mine, other))
    assert [rows[one]["disposition"] for one in (mine, other, later)] == ["no-concern", "no-concern", None]
    assert [one["state"] for one in queue(act, sample=item["sample"])] == ["reviewed"]
    again = review(act, "compliance2", unreviewed=True)
    assert again.json()["cases"] == [rows[later]["request_id"]]
    with act.api.records_nothing():
        problem(review(act, unreviewed=True), 409, "range-empty")


def test_a_range_of_a_client_has_a_note_that_goes_with_the_client(act: Acting) -> None:
    """The note shows on each decision of this client, and of no other; a range of all clients takes none."""
    [theirs] = decided(act)
    mine = act.decided(act.proposed(client_id="client-2"))["decision_id"]
    [client] = act.api.items("/clients", client_id="client-2")
    with act.api.records_nothing():
        assert fields(problem(review(act, note="All of them?"), 422, "invalid")) == ["note"]
        assert fields(problem(review(act, disposition="concern"), 422, "invalid")) == ["disposition"]
        concern = review(act, disposition="concern", client=client["id"])
        assert fields(problem(concern, 422, "invalid")) == ["note"]
        problem(review(act, client=999), 404, "client-unknown")
    made = review(act, client=client["id"], disposition="concern", note="Why so fast?")
    assert made.status_code == 201, made.text
    shown = [act.api.get(f"/decisions/{one}").json()["review_note"] for one in (mine, theirs)]
    assert shown == ["Why so fast?", None]


def test_own_cases_are_refused_or_left_out(act: Acting) -> None:
    """The confirmer of a case cannot review it; other roles cannot review at all; nothing is recorded."""
    [free] = decided(act)
    confirmed = act.decided(act.proposed(), **SENSITIVE)
    assert act.confirm(confirmed, "compliance").status_code == 201
    own = act.api.get(f"/decisions/{confirmed['decision_id']}").json()["request_id"]
    with act.api.records_nothing():
        for role in set(ROLES) - {"compliance"}:
            problem(review(act, role), 403, "wrong-role")
        assert problem(review(act), 409, "same-person")["own_cases"] == 1
    made = review(act, leave_out_own=True).json()
    assert made["left_out"] == [own]
    assert act.api.get(f"/decisions/{free}").json()["reviewed_by"] == "compliance"
    assert act.api.get(f"/decisions/{confirmed['decision_id']}").json()["review_id"] is None


def test_a_reviewer_of_some_clients_is_told_to_name_one(act: Acting) -> None:
    """A range of all clients is refused by the member that it lacks; one of a client in reach is reviewed."""
    decided(act)
    mine = act.row(act.proposed(client_id="client-2"))
    act.decided(mine["id"])
    [client] = act.api.items("/clients", client_id="client-2")
    act.api.tokens["limited"] = subject(act.api.url, "limited", "auditor")
    until = "2100-01-01T00:00:00Z"
    record(act.api.url, "limited", SubjectRoleGranted(role="compliance", until=until, clients=[client["id"]]))
    with act.api.records_nothing():
        assert fields(problem(review(act, "limited"), 422, "invalid")) == ["client"]
    assert review(act, "limited", client=client["id"]).json()["cases"] == [mine["request_id"]]
