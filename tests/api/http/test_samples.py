"""Samples over HTTP: what is drawn and recorded, the queue, who may review, and a sample drawn again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from api.sampling import Redrawn, redraw
from ledger.domain.subject import ROLES
from ledger.service.open_ledger import LedgerParts, open_ledger
from schema.events import SubjectSuspended
from schema.samples import SampleDrawn
from tests.api.acting import EDIT, SENSITIVE, Acting, second_tokens
from tests.api.http.test_erasure import holding, policies
from tests.api.served import Api, fields, ledger_copy, problem, served
from tests.conftest import Template
from tests.subjects import record, subject, subjects
from tests.support import append, connect, new

PERIOD = {"decided_from": "2020-01-01T00:00:00Z", "decided_to": "2100-01-01T00:00:00Z"}
BOTH = ["compliance", "compliance2"]


@pytest.fixture(scope="module")
def act(api: Api) -> Acting:
    """With two tokens of each role."""
    second_tokens(api)
    return Acting(api)


def draw(act: Acting, role: str = "compliance", key: str | None = None, **how: Any) -> Any:
    """Draw a sample of one of all decisions."""
    return act.post("/samples", role, {**PERIOD, "size": 1, "reviewers": BOTH, **how}, key)


def drawn(act: Acting, **how: Any) -> dict[str, Any]:
    """Draw a sample that is accepted."""
    response = draw(act, **how)
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


def decided(act: Acting, count: int = 1, **how: Any) -> list[int]:
    """Return the ids of new decisions, each in a case of its own."""
    return [int(act.decided(act.proposed(), **how)["decision_id"]) for _ in range(count)]


def queue(act: Acting, role: str = "compliance", **how: Any) -> list[dict[str, Any]]:
    """Read the queue."""
    found: list[dict[str, Any]] = act.api.get("/reviews/queue", role, **how).json()["items"]
    return found


def again(api: Api, number: int) -> Redrawn:
    """Draw a recorded sample again, from the events."""

    async def work() -> Redrawn:
        async with open_ledger(LedgerParts(api.url, readers=2, read_only=True)) as ledger:
            return await redraw(ledger, number)

    return asyncio.run(work())


def test_only_reviewers_draw_and_only_for_people_who_may_review(act: Acting) -> None:
    """Other roles get 403; agents, advisors, unknown and limited subjects are no reviewers; nothing is recorded."""
    api = act.api
    decided(act)
    with api.records_nothing():
        for role in set(ROLES) - {"compliance"}:
            problem(draw(act, role), 403, "wrong-role")
        for name in ("advisor", "agent", "nobody"):
            assert fields(problem(draw(act, reviewers=[name]), 422, "invalid")) == ["reviewers"]
        problem(draw(act, decided_from="2099-01-01T00:00:00Z"), 409, "population-empty")
        problem(draw(act, weights=[{"points": 1}]), 422, "invalid")
        problem(draw(act, weights=[{"points": 15, "overridden": True}] * 2), 422, "invalid")
        problem(draw(act, decided_from=PERIOD["decided_to"]), 422, "invalid")
        problem(api.get("/samples/999"), 404, "sample-unknown")


def test_a_sample_is_on_record_with_all_that_draws_it_again(act: Acting) -> None:
    """Seed, population and its digest are those that the events give; a retry records nothing and answers the same."""
    edited, *_ = decided(act, **EDIT), decided(act, 2)
    weights = [{"points": 9, "overridden": True}, {"points": 3, "amount_usd_at_least": "1000.00"}]
    with act.records(4):  # the sample, and three items
        first = drawn(act, key="sample", size=3, weights=weights)
        assert drawn(act, key="sample", size=3, weights=weights) == first
    row = act.api.get(f"/samples/{first['sample']}").json()
    assert row["chosen"] == first["chosen"]
    assert (row["seed"], row["seed_from"], row["weights"]) == (first["seed"], "server", weights)
    decided(act)  # what comes later is not in it
    found = again(act.api, first["sample"])
    assert (found.differences, found.population_again) == ([], first["population"])
    given = drawn(act, seed="0" * 64, overridden=True, outcome="edit")
    assert (given["seed"], given["chosen"][0] in {*edited, *given["chosen"]}) == ("0" * 64, True)
    assert act.api.get(f"/samples/{given['sample']}").json()["seed_from"] == "caller"
    assert again(act.api, given["sample"]).differences == []
    listed = [one["id"] for one in act.api.items("/samples")]
    assert listed[:2] == [given["sample"], first["sample"]]


def test_nobody_gets_a_case_in_which_they_acted(act: Acting) -> None:
    """The confirmer is passed over, also if somebody names them; if nobody is left, nothing is recorded."""
    at = act.proposed(amount_usd="7777.00")
    confirmed = act.decided(at, **SENSITIVE)
    assert act.confirm(confirmed, "compliance").status_code == 201
    only = {"amount_from": "7777.00", "amount_to": "7777.00"}
    with act.api.records_nothing():
        refused = draw(act, reviewers=["compliance"], **only)
        assert problem(refused, 409, "no-reviewer")["decision_id"] == confirmed["decision_id"]
    found = drawn(act, **only)
    [item] = queue(act, sample=found["sample"])
    assert (item["decision_id"], item["assignee"]) == (confirmed["decision_id"], "compliance2")
    path = f"/review-items/{item['id']}/reassignments"
    with act.api.records_nothing():
        problem(act.post(path, "compliance", {"assignee": "compliance"}), 409, "same-person")
        problem(act.post(path, "compliance", {"assignee": "compliance2"}), 409, "already-assigned")
        assert fields(problem(act.post(path, "compliance", {"assignee": "advisor"}), 422, "invalid")) == ["assignee"]
        problem(act.post(path, "advisor", {"assignee": "compliance2"}), 403, "wrong-role")
        problem(
            act.post("/review-items/1/reassignments", "compliance", {"assignee": "compliance2"}),
            404,
            "review-item-unknown",
        )


def test_a_review_of_the_case_closes_the_item(act: Acting) -> None:
    """By the one event of the review; an item that is closed goes to nobody else; findings show on it."""
    third = subjects(act.api.url, {"compliance3": "compliance"})
    act.api.tokens.update(third)
    [mine] = decided(act)
    found = drawn(act, size=1000, unreviewed=True, due_at="2030-01-01T00:00:00Z", reviewers=["compliance3"])
    assert mine in found["chosen"]
    item = next(one for one in queue(act, "compliance3") if one["decision_id"] == mine)
    assert (item["state"], item["due_at"]) == ("open", "2030-01-01T00:00:00Z")
    assert queue(act, "compliance3", due_before="2029-01-01T00:00:00Z") == []
    path = f"/review-items/{item['id']}/reassignments"
    with act.records(1):
        given = act.post(path, "compliance", {"assignee": "compliance2", "due_at": "2031-01-01T00:00:00Z"}, "re")
        assert given.status_code == 201, given.text
        assert (
            act.post(path, "compliance", {"assignee": "compliance2", "due_at": "2031-01-01T00:00:00Z"}, "re").json()
            == given.json()
        )
    [moved] = [one for one in queue(act, "compliance2") if one["id"] == item["id"]]
    assert (moved["assignee"], moved["due_at"]) == ("compliance2", "2031-01-01T00:00:00Z")
    case = f"/cases/{item['request_id']}"
    upto = act.api.head()[0]
    with act.records(1):
        body = {"upto": upto, "disposition": "no-concern"}
        assert act.post(f"{case}/reviews", "compliance2", body).status_code == 201
    [done] = [one for one in queue(act, "compliance2", state="reviewed") if one["id"] == item["id"]]
    assert (done["reviewed_by"], done["disposition"], done["findings"]) == ("compliance2", "no-concern", 0)
    before = queue(act, sample=found["sample"], request_id=item["request_id"], as_of=upto)
    assert [one["state"] for one in before] == ["open"]
    with act.api.records_nothing():
        problem(act.post(path, "compliance", {"assignee": "compliance3"}), 409, "review-item-closed")
    opened = act.post(f"{case}/findings", "compliance2", {"severity": "low", "text": "Why?", "decision_id": mine})
    assert opened.status_code == 201, opened.text
    [wrong] = queue(act, "compliance", sample=found["sample"], state="finding")
    assert (wrong["id"], wrong["findings"]) == (item["id"], 1)
    auditor = act.api.get("/reviews/queue", "auditor", sample=found["sample"])
    assert "Why?" not in auditor.text
    assert auditor.status_code == 200


def test_an_assignment_sent_again_is_answered_also_when_its_assignee_has_left(act: Acting) -> None:
    """Both of an item and of a finding: the first receipt, and nothing recorded; anew it is refused."""
    for name in ("leaver", "newcomer"):  # Neither of them acted in any case.
        act.api.tokens[name] = subject(act.api.url, name, "compliance")
    decided(act)
    found = drawn(act, size=1, unreviewed=True, reviewers=["newcomer"])
    [item] = queue(act, "newcomer", sample=found["sample"])
    wrong = {"severity": "low", "text": "Why?"}
    finding = act.post(f"/cases/{item['request_id']}/findings", "compliance", wrong).json()["finding"]
    paths = (f"/review-items/{item['id']}/reassignments", f"/findings/{finding}/assignments")
    to = {"assignee": "leaver"}
    first = [act.post(path, "compliance", to, f"leaver-{n}") for n, path in enumerate(paths)]
    assert [one.status_code for one in first] == [201, 201]
    record(act.api.url, "leaver", SubjectSuspended(reason="left"))
    with act.api.records_nothing():
        for n, path in enumerate(paths):
            assert act.post(path, "compliance", to, f"leaver-{n}").text == first[n].text
            assert fields(problem(act.post(path, "compliance", to), 422, "invalid")) == ["assignee"]


def test_a_forged_sample_is_named(act: Acting) -> None:
    """A sample whose population, digest or choice the events do not give is named by what differs, and nothing else."""
    decided(act, 2)
    first = drawn(act, size=1, seed="7" * 64)
    recorded = act.api.get(f"/samples/{first['sample']}").json()
    members = {name: recorded[name] for name in SampleDrawn.model_fields if recorded.get(name) is not None}
    others = [row["id"] for row in act.api.items("/decisions", limit=200) if row["id"] not in recorded["chosen"]]
    forged = {
        "chosen": {"chosen": others[:1]},
        "population": {"population": recorded["population"] - 1},
        "population-digest": {"population_digest": "0" * 64},
    }
    for number, (name, changed) in enumerate(forged.items(), first["sample"] + 1):
        event = SampleDrawn.model_validate({**members, **changed})
        with connect(act.api.url, "writer") as conn:
            append(conn, new(f"sample-{number}", event))
        assert again(act.api, number).differences == [name]
    # As of a position that nobody had reached: what it gives would change with each decision.
    future = SampleDrawn.model_validate({**members, "upto": 10**9})
    with connect(act.api.url, "writer") as conn:
        append(conn, new("sample-1000", future))
    assert again(act.api, 1000).differences == ["upto"]
    # The same sample, drawn from what was there before the last decision.
    earlier = SampleDrawn.model_validate({**members, "upto": min(others)})
    with connect(act.api.url, "writer") as conn:
        append(conn, new(f"sample-{number + 1}", earlier))
    assert again(act.api, number + 1).differences[:2] == ["population", "population-digest"]


def test_an_erased_case_is_in_no_sample_and_an_earlier_one_is_still_the_same(
    server_url: str, template_database: Template, tmp_path: Path
) -> None:
    """Values of findings go with the client; a sample from before the erasure is drawn again from what is left.

    Its open item stays in the queue, and is neither reviewed nor given to another.
    """
    kept = policies(tmp_path, 0)
    with ledger_copy(server_url, template_database) as url, served(url, policies=kept) as api:
        second_tokens(api)
        scene = Acting(api)
        at = scene.proposed(client_id="Vera-Gone")
        gone = scene.decided(at)["decision_id"]
        [stays] = decided(scene)
        [client] = api.items("/clients", client_id="Vera-Gone")
        for path in (f"/cases/{scene.row(at)['request_id']}", f"/clients/{client['id']}"):
            found = scene.post(f"{path}/findings", "compliance", {"severity": "low", "text": "Vera-Gone was not asked"})
            assert found.status_code == 201
        before = drawn(scene, size=9)
        assert set(before["chosen"]) == {gone, stays}
        reason = {"reason": "client-request"}
        asked = scene.post(f"/clients/{client['id']}/erasure", "compliance", reason).json()
        assert scene.post(f"/erasures/{asked['erasure']}/confirmations", "compliance2", {}).status_code == 201
        assert holding(api.url, "Vera-Gone") == []
        assert [row["text"] for row in api.items("/findings")] == [None, None]
        assert again(api, before["sample"]).differences == []
        [item] = [one for one in queue(scene, sample=before["sample"], state="open") if one["decision_id"] == gone]
        case, to = f"/cases/{item['request_id']}", {"assignee": min({*BOTH} - {item["assignee"]})}
        seen = {"upto": api.head()[0], "disposition": "no-concern"}
        with api.records_nothing():
            problem(scene.post(f"{case}/reviews", "compliance", seen), 409, "client-erased")
            problem(scene.post(f"/review-items/{item['id']}/reassignments", "compliance", to), 409, "client-erased")
        later = drawn(scene, size=9)
        assert later["chosen"] == [stays]
        assert again(api, later["sample"]).differences == []
