"""Claims: a queued request is one agent's at a time, and only the agent with the claim may end it."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from tests.api.acting import REJECT, RESPOND, Acting, second_tokens
from tests.api.served import Api, fields, problem
from tests.support import connect

TAKE = "SELECT request_id FROM claim_requests('host:1:builtin', interval '1 minute', 1000)"


@pytest.fixture(scope="module")
def act(api: Api) -> Acting:
    """With two agents."""
    second_tokens(api)
    return Acting(api)


def queue(api: Api, role: str = "agent") -> dict[int, bool]:
    """Return the requests that an agent may take, in pages, and whether it has claimed each; the oldest is first."""
    found: list[tuple[int, bool]] = []
    cursor = None
    while True:
        page = api.get("/assignments", role, limit=2, **({} if cursor is None else {"cursor": cursor})).json()
        found += [(row["request_id"], row["claimed"]) for row in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            assert found == sorted(found)
            return dict(found)


def end_leases(api: Api, request_id: int) -> None:
    """Let the lease of a claim end."""
    with connect(api.url) as conn:
        conn.execute("UPDATE request_claims SET expires_at = clock_timestamp() WHERE request_id = %s", [request_id])


def test_a_claimed_request_is_one_agents(api: Api, act: Acting) -> None:
    """Of agents at once one gets it; the other one finds it in no list, and can neither call, answer nor fail."""
    request_id, free = api.asked(), api.asked()
    with api.records_nothing():
        with ThreadPoolExecutor(8) as pool:
            tried = list(pool.map(lambda role: (role, act.claim(request_id, role)), ["agent", "agent2"] * 4))
        winners = {role for role, response in tried if response.status_code == 200}
        assert len(winners) == 1
        [mine] = winners
        [other] = {"agent", "agent2"} - winners
        assert Counter(response.status_code for _, response in tried) == {200: 4, 409: 4}
        assert (queue(api, mine)[request_id], queue(api, mine)[free]) == (True, False)
        assert request_id not in queue(api, other)
        for refused in (
            act.claim(request_id, other),
            act.start(request_id, other),
            api.answer(request_id, other),
            act.fail(request_id, other),
        ):
            problem(refused, 409, "claimed-by-another")
    call = act.started(request_id, mine)
    assert act.end(call, role=mine).status_code == 201
    assert api.answer(request_id, mine, model_call_id=call).status_code == 201
    assert request_id not in queue(api, mine)


def test_a_request_without_a_claim_takes_any_answer_and_no_failure(api: Api, act: Acting) -> None:
    """An agent that is alone needs no claim; failing is final, and needs one that has not ended."""
    one, two = api.asked(), api.asked()
    failing = f"/portfolio/requests/{two}/failures"
    assert api.answer(one).status_code == 201
    with api.records_nothing():
        problem(act.post(failing, "agent", {"reason": "no-answer"}), 409, "not-claimed")
        assert act.claim(two).status_code == 200
        end_leases(api, two)
        problem(act.post(failing, "agent", {"reason": "no-answer"}), 409, "not-claimed")
        assert act.claim(two, "agent2").status_code == 200
        problem(act.post(failing, "agent", {"reason": "no-answer"}), 409, "claimed-by-another")
    assert act.fail(two, "agent2").status_code == 201


def test_a_renewal_never_shortens_a_claim(api: Api, act: Acting) -> None:
    """The end of a claim is that of the longest lease asked for; leases out of bounds are refused by name."""
    request_id = api.asked()
    ends = [
        datetime.fromisoformat(act.claim(request_id, lease_s=lease_s).json()["claim_expires_at"])
        for lease_s in (600, 1, 3600)
    ]
    assert ends[0] == ends[1] < ends[2]
    rows = {row["request_id"]: row for row in api.get("/assignments", "agent", limit=200).json()["items"]}
    assert datetime.fromisoformat(rows[request_id]["claim_expires_at"]) == ends[2]
    for lease_s in (0, 3601, 1.5, "60", True):
        assert fields(problem(act.claim(request_id, lease_s=lease_s), 422, "invalid")) == ["lease_s"]


def test_only_a_queued_request_is_claimed_or_asked_about(api: Api, act: Acting) -> None:
    """A request with its answer takes no claim and no model call; once that is rejected, a call again."""
    problem(act.claim(2**53 - 1), 404, "request-unknown")
    request_id = api.asked()
    made = api.answered(request_id)
    with api.records_nothing():
        problem(act.claim(request_id), 409, "request-finished")
        problem(act.start(request_id), 409, "request-finished")
    act.decided(made, **REJECT)
    with api.records_nothing():
        problem(act.claim(request_id), 409, "request-finished")
    act.started(request_id)
    failed = api.asked()
    assert act.fail(failed).status_code == 201
    with api.records_nothing():
        problem(act.claim(failed), 409, "request-failed")


def test_a_claim_ends_with_the_answer(api: Api, act: Acting) -> None:
    """After a response the request is anybody's, also if the read model still shows it as answered."""
    request_id = api.asked()
    assert act.claim(request_id, lease_s=3600).status_code == 200
    made = api.answered(request_id)
    act.decided(made, **RESPOND)
    assert act.claim(request_id, "agent2").status_code == 200
    problem(api.answer(request_id, "agent"), 409, "claimed-by-another")
    with connect(api.url, "owner") as conn, conn.transaction(force_rollback=True):
        conn.execute("UPDATE portfolio_requests SET status = 'recommended' WHERE id = %s", [request_id])
        conn.execute(TAKE)
        claim = "SELECT worker FROM request_claims WHERE request_id = %s"
        assert conn.execute(claim, [request_id]).fetchall() == [("agent2",)]


def test_the_worker_and_other_agents_share_the_queue(api: Api, act: Acting) -> None:
    """The worker takes no request that an agent has claimed, and an agent none that the worker has."""
    mine, free = api.asked(), api.asked()
    assert act.claim(mine).status_code == 200
    assert queue(api)[free] is False
    with connect(api.url, "writer") as conn:
        taken = {request_id for (request_id,) in conn.execute(TAKE)}
    assert free in taken
    assert mine not in taken
    problem(act.claim(free), 409, "claimed-by-another")
    found = queue(api)
    assert (found[mine], free in found) == (True, False)


def test_a_suspended_agent_is_given_nothing(api: Api, act: Acting) -> None:
    """It sees no queue and claims nothing. Its claim ends by itself."""
    request_id = api.asked()
    assert act.claim(request_id, "agent2").status_code == 200
    assert act.command("agent2", "suspensions").status_code == 201
    with api.records_nothing():
        problem(api.get("/assignments", "agent2"), 409, "agent-suspended")
        problem(act.claim(request_id, "agent2"), 409, "agent-suspended")
    end_leases(api, request_id)
    assert act.claim(request_id).status_code == 200
    assert act.command("agent2", "resumptions").status_code == 201
