"""Findings over HTTP: who opens, assigns and closes them, and where they show."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.domain.subject import ROLES
from tests.api.acting import SENSITIVE, Acting, second_tokens
from tests.api.served import Api, fields, problem

UNKNOWN = 2**53 - 1
WRONG = {"severity": "high", "text": "The amount is not the client's."}
DONE = {"resolution": "remedied", "reason": "The client was told."}


@pytest.fixture(scope="module")
def act(api: Api) -> Acting:
    """With two tokens of each role."""
    second_tokens(api)
    return Acting(api)


def opened(act: Acting, path: str, **how: Any) -> int:
    """Open a finding; return its id."""
    response = act.post(f"{path}/findings", "compliance", {**WRONG, **how})
    assert response.status_code == 201, response.text
    return int(response.json()["finding"])


def test_only_reviewers_handle_findings(act: Acting) -> None:
    """Other roles get 403; unknown cases, clients, decisions and findings 404; nothing is recorded."""
    api = act.api
    request_id = act.row(act.proposed())["request_id"]
    with api.records_nothing():
        for role in set(ROLES) - {"compliance"}:
            problem(act.post(f"/cases/{request_id}/findings", role, WRONG), 403, "wrong-role")
        problem(act.post(f"/cases/{UNKNOWN}/findings", "compliance", WRONG), 404, "request-unknown")
        problem(act.post(f"/clients/{UNKNOWN}/findings", "compliance", WRONG), 404, "client-unknown")
        other = {**WRONG, "decision_id": request_id}
        problem(act.post(f"/cases/{request_id}/findings", "compliance", other), 404, "decision-unknown")
        problem(act.post("/findings/1/closings", "compliance", DONE), 404, "finding-unknown")
        problem(act.post("/findings/1/assignments", "compliance", {"assignee": "advisor"}), 404, "finding-unknown")


def test_a_finding_is_opened_assigned_and_closed_once(act: Acting) -> None:
    """It shows in the list, on its decision and in the case; who acted in the case does not close it."""
    api = act.api
    at = act.proposed()
    request_id = act.row(at)["request_id"]
    decided = act.decided(at, **SENSITIVE)
    assert act.confirm(decided, "compliance").status_code == 201
    finding = opened(act, f"/cases/{request_id}", decision_id=decided["decision_id"])
    path = f"/findings/{finding}"
    row = api.get(f"/decisions/{decided['decision_id']}").json()
    assert (row["findings"], row["open_findings"], row["samples"]) == (1, 1, 0)
    with api.records_nothing():
        problem(act.post(f"{path}/closings", "compliance", DONE), 409, "same-person")
        for name in ("nobody", "agent"):
            refused = act.post(f"{path}/assignments", "compliance", {"assignee": name})
            assert fields(problem(refused, 422, "invalid")) == ["assignee"]
    with act.records(1):
        assert act.post(f"{path}/assignments", "compliance", {"assignee": "advisor"}, "a").status_code == 201
        assert act.post(f"{path}/assignments", "compliance", {"assignee": "advisor"}, "a").status_code == 201
    with api.records_nothing():
        again = act.post(f"{path}/assignments", "compliance", {"assignee": "advisor"})
        problem(again, 409, "already-assigned")
    [mine] = api.items("/findings", assignee="advisor", state="open")
    assert (mine["id"], mine["text"], mine["severity"]) == (finding, WRONG["text"], "high")
    before = api.head()[0]
    assert act.post(f"{path}/closings", "compliance2", DONE).status_code == 201
    with api.records_nothing():
        problem(act.post(f"{path}/closings", "compliance2", DONE), 409, "finding-closed")
        problem(act.post(f"{path}/assignments", "compliance", {"assignee": "advisor2"}), 409, "finding-closed")
    row = api.get(path).json()
    shown = [row[name] for name in ("state", "resolution", "closed_by", "close_reason", "assignee")]
    assert shown == ["closed", "remedied", "compliance2", DONE["reason"], "advisor"]
    assert api.get(path, as_of=before).json()["state"] == "open"
    row = api.get(f"/decisions/{decided['decision_id']}").json()
    assert (row["findings"], row["open_findings"]) == (1, 0)
    story = api.get(f"/cases/{request_id}").text
    assert all(part in story for part in ("finding.opened", "finding.assigned", "finding.closed", WRONG["text"]))


def test_a_finding_about_a_client_stands_with_the_client(act: Acting) -> None:
    """It has the number of the client and no request, and its text opens the commitment in the client's stream."""
    api = act.api
    act.proposed(client_id="client-of-findings")
    [client] = api.items("/clients", client_id="client-of-findings")
    finding = opened(act, f"/clients/{client['id']}", severity="low")
    [row] = api.items("/findings", client_id="client-of-findings")
    assert (row["id"], row["client"], row["request_id"], row["text"]) == (finding, client["id"], None, WRONG["text"])
    assert act.post(f"/findings/{finding}/closings", "compliance", DONE).status_code == 201
    assert api.get(f"/findings/{finding}").json()["close_reason"] == DONE["reason"]
