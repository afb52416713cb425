"""Reviews over HTTP: who may review what, up to where it counts, and what rows and the report show."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.domain.subject import ROLES
from ledger.store.envelope import Actor, NewEvent, uuid7
from schema.events import RequestWithdrawn
from tests.api.acting import REJECT, SENSITIVE, Acting, second_tokens
from tests.api.served import Api, fields, problem
from tests.support import append, connect

UNKNOWN = 2**53 - 1
FINE: dict[str, Any] = {"disposition": "no-concern"}


@pytest.fixture(scope="module")
def act(api: Api) -> Acting:
    """With two tokens of each role."""
    second_tokens(api)
    return Acting(api)


def review(
    act: Acting, request_id: int, upto: int, role: str = "compliance", key: str | None = None, **how: Any
) -> Any:
    """Review a case."""
    return act.post(f"/cases/{request_id}/reviews", role, {"upto": upto, **FINE, **how}, key)


def test_only_reviewers_review_and_only_what_is_on_record(api: Api, act: Acting) -> None:
    """Other roles get 403; unknown cases 404; a position before the request or in the future, and no words, 422."""
    at = act.proposed()
    request_id = act.row(at)["request_id"]
    head = api.head()[0]
    with api.records_nothing():
        for role in set(ROLES) - {"compliance"}:
            problem(review(act, request_id, head, role), 403, "wrong-role")
        problem(review(act, UNKNOWN, head), 404, "request-unknown")
        for upto in (1, head + 100):
            assert fields(problem(review(act, request_id, upto), 422, "invalid")) == ["upto"]
        concern = review(act, request_id, head, disposition="concern")
        assert fields(problem(concern, 422, "invalid")) == ["note"]


def test_who_acted_in_a_case_does_not_review_it(api: Api, act: Acting) -> None:
    """A confirmer is refused, also as of a position before the confirmation, and another reviewer is not."""
    at = act.proposed()
    request_id = act.row(at)["request_id"]
    decided = act.decided(at, **SENSITIVE)
    assert act.confirm(decided, "compliance").status_code == 201
    head = api.head()[0]
    with api.records_nothing():
        for upto in (head, decided["decision_id"]):
            problem(review(act, request_id, upto), 409, "same-person")
    assert review(act, request_id, head, "compliance2").status_code == 201


def test_for_whom_somebody_acted_in_a_case_does_not_review_it(api: Api, act: Acting) -> None:
    """Imported events may say so: no case and no range with it is reviewed, no item is given, no finding is closed."""
    at = act.proposed()
    row = act.row(at)
    act.decided(at)
    clerk = Actor("old-system", "service", "advisor", on_behalf_of="compliance")
    withdrawn = RequestWithdrawn(reason_code="duplicate")
    with connect(api.url, "writer") as conn:
        append(conn, NewEvent(uuid7(), f"request-{row['request_id']}", withdrawn, clerk))
    case = f"/cases/{row['request_id']}"
    wrong = {"severity": "low", "text": "Why?"}
    finding = act.post(f"{case}/findings", "compliance", wrong).json()["finding"]
    period = {"decided_from": "2020-01-01T00:00:00Z", "decided_to": "2100-01-01T00:00:00Z"}
    with api.records_nothing():
        problem(review(act, row["request_id"], api.head()[0]), 409, "same-person")
        problem(act.post("/reviews", "compliance", {**period, **FINE}), 409, "same-person")
        done = {"resolution": "unfounded", "reason": "It is fine."}
        problem(act.post(f"/findings/{finding}/closings", "compliance", done), 409, "same-person")


def test_a_review_counts_for_the_decisions_up_to_its_position(api: Api, act: Acting) -> None:
    """Later decisions are not reviewed; the last review of a decision is shown; a retry records nothing."""
    at = act.proposed()
    request_id = act.row(at)["request_id"]
    first = act.decided(at)["decision_id"]
    revoked = {"reason_code": "other", "rationale": "again"}
    assert act.post(f"/decisions/{first}/revocations", "advisor", revoked).status_code == 201
    second = act.decided(at, **REJECT)["decision_id"]
    with act.records(1):
        made = review(act, request_id, first, key="r")
        assert made.status_code == 201, made.text
        assert review(act, request_id, first, key="r").text == made.text
    rows = {row["id"]: row for row in api.items("/decisions", request_id=request_id)}
    shown = [rows[first][name] for name in ("review_id", "reviewed_by", "disposition", "review_note")]
    assert shown == [made.json()["review_id"], "compliance", "no-concern", None]
    assert rows[second]["review_id"] is None
    assert review(act, request_id, second, "compliance2", disposition="concern", note="Why so fast?").status_code == 201
    row = api.get(f"/decisions/{first}").json()
    assert (row["reviewed_by"], row["disposition"], row["review_note"]) == ("compliance2", "concern", "Why so fast?")
    listed = [row["id"] for row in api.items("/decisions", request_id=request_id, disposition="concern")]
    assert listed == [second, first]
    before = api.get(f"/decisions/{first}", as_of=made.json()["review_id"]).json()
    assert (before["reviewed_by"], before["disposition"]) == ("compliance", "no-concern")


def test_coverage_is_the_share_of_decisions_that_were_reviewed(fresh_api: Api) -> None:
    """By person and month; a case that was reviewed twice counts once."""
    act = Acting(fresh_api)
    reviewed = [act.proposed() for _ in range(4)]
    for at in reviewed:
        act.decided(at)
    for at, how in ((reviewed[0], {}), (reviewed[0], {}), (reviewed[1], {"disposition": "concern", "note": "x"})):
        found = review(act, act.row(at)["request_id"], fresh_api.head()[0], **how)
        assert found.status_code == 201, found.text
    [row] = fresh_api.get("/reports/review-coverage", "compliance").json()["items"]
    assert [row[name] for name in ("decided_by", "decisions", "reviewed", "concerns")] == ["advisor", 4, 2, 1]
    assert float(row["reviewed_share"]) == 0.5
