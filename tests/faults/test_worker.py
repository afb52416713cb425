"""Workers on one queue: each request is answered once, though workers die, fail or refuse."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from typing import Any

import pytest
from psycopg import sql

from api.agents.builtin.agent import BuiltinAgent
from api.agents.protocol import AgentAnswer, AgentRequest, AgentUnavailable
from api.agents.run import worker
from api.agents.run.worker import MAX_ATTEMPTS, MAX_CLAIMS
from tests.api.served import Api
from tests.faults.workers import Does, fine, process, refuses, working
from tests.subjects import subject
from tests.support import connect, eventually

# Far below what a worker does alone on a machine, so that a busy one passes: 300 a second is what we aim at.
LEAST_RATE = 40


def answers(api: Api) -> Counter[str]:
    """Count the answers of each request."""
    with connect(api.url) as conn:
        query = "SELECT stream FROM events WHERE type IN ('recommendation.recorded', 'request.failed')"
        return Counter(stream for (stream,) in conn.execute(query))


def calls(api: Api, **filters: Any) -> list[dict[str, Any]]:
    """Return the model calls, the oldest first."""
    return api.items("/model-calls", **filters)[::-1]


def settled(api: Api, *ids: int) -> list[dict[str, Any]]:
    """Wait until none of these requests is queued; return them."""

    def rows() -> list[dict[str, Any]] | None:
        found = [api.get(f"/portfolio/requests/{row_id}").json() for row_id in ids]
        return None if any(row["status"] == "queued" for row in found) else found

    found: list[dict[str, Any]] = eventually("answers", rows)
    return found


@pytest.mark.slow
def test_several_workers_answer_each_request_once(fresh_api: Api) -> None:
    """Three processes on one queue of many requests: each has exactly one answer, and all had a share in it."""
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(process(fresh_api.url, "builtin", batch=3))
        ids = [fresh_api.asked(client_id=f"client-{number}") for number in range(150)]
        rows = settled(fresh_api, *ids)
    assert {row["status"] for row in rows} == {"recommended"}
    assert answers(fresh_api) == Counter({f"request-{row_id}": 1 for row_id in ids})


@pytest.mark.parametrize(
    ("step", "orphans"), [pytest.param("sleeps-preparing", 0, marks=pytest.mark.slow), ("sleeps-answering", 3)]
)
def test_a_killed_workers_claims_expire(fresh_api: Api, step: str, orphans: int) -> None:
    """A worker that is killed -9 before or after its calls are on record answers nothing; another does, in time.

    The calls that it had started stay on record as orphans, and are reported by age.
    """
    ids = [fresh_api.asked() for _ in range(3)]
    with process(fresh_api.url, step, lease_s=1.5) as dying:
        assert dying.stdout is not None
        assert dying.stdout.readline().startswith("asked ")
        claimed = time.monotonic()
        eventually("the calls to be on record", lambda: len(calls(fresh_api)) == orphans)
        dying.kill()
        with working(fresh_api.url, BuiltinAgent()):
            rows = settled(fresh_api, *ids)
    assert time.monotonic() - claimed > 1
    assert {row["status"] for row in rows} == {"recommended"}
    assert answers(fresh_api) == Counter({f"request-{row_id}": 1 for row_id in ids})
    assert len(calls(fresh_api, state="completed")) == 3
    assert len(calls(fresh_api, state="open", older_than_s=1)) == orphans
    assert calls(fresh_api, state="open", older_than_s=3600) == []
    assert f"advice_ledger_model_calls_open {orphans:.1f}" in fresh_api.get("/metrics").text


def test_an_answer_that_comes_too_late_is_not_recorded(fresh_api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """A worker that lost its claim is overtaken by another; its own answer is refused, without harm."""
    caplog.set_level(logging.INFO)
    overtaken = threading.Event()

    def late(request: AgentRequest, before: int) -> AgentAnswer:
        assert overtaken.wait(30)
        return AgentAnswer({"late": True}, "late", "1", {})

    slow = Does(late)
    row_id = fresh_api.asked()
    with working(fresh_api.url, slow, batch=1):
        eventually("the slow worker", lambda: slow.asked)
        with connect(fresh_api.url) as conn:
            conn.execute("UPDATE request_claims SET expires_at = now()")
        with working(fresh_api.url, Does(fine)):
            settled(fresh_api, row_id)
            overtaken.set()
            eventually("the late answer is refused", lambda: "nothing recorded" in caplog.text)
            later = fresh_api.asked(client_id="later")
            settled(fresh_api, later)
    assert answers(fresh_api) == Counter({f"request-{row_id}": 1, f"request-{later}": 1})
    assert fresh_api.items("/recommendations")[-1]["recommendation"] == {"for": row_id}


def test_an_agent_that_fails_is_asked_again(fresh_api: Api) -> None:
    """An agent's exception costs an attempt: it may answer the next, and after the last the request has failed."""

    def fails(request: AgentRequest, before: int) -> AgentAnswer:
        if request.amount_usd == 3 or (request.amount_usd == 2 and before < MAX_ATTEMPTS - 1):
            raise StopIteration("of all exceptions the one that futures do not take")
        return fine(request)

    agent = Does(fails)
    ids = [fresh_api.asked(amount_usd=amount) for amount in (1, 2, 3)]
    with working(fresh_api.url, agent, lease_s=0.2):
        rows = settled(fresh_api, *ids)
    assert [row["status"] for row in rows] == ["recommended", "recommended", "failed"]
    assert [row["failure_reason"] for row in rows] == [None, None, "agent-fault"]
    assert [agent.asked.count(row_id) for row_id in ids] == [1, MAX_ATTEMPTS, MAX_ATTEMPTS]
    # Each attempt is a call on record, with how it ended.
    made = [[call["state"] for call in calls(fresh_api, request_id=row_id)] for row_id in ids]
    assert made == [["completed"], ["failed", "failed", "completed"], ["failed", "failed", "failed"]]
    assert set(answers(fresh_api).values()) == {1}


def test_an_outage_fails_no_request(fresh_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the model is away a request is asked about again and again, ever later, and answered when it is back."""
    monkeypatch.setattr(worker, "BACKOFF_S", (0.01, 0.02))

    def away(request: AgentRequest, before: int) -> AgentAnswer:
        if before < 2 * MAX_ATTEMPTS:
            raise AgentUnavailable("unreachable", "nobody listens there")
        return fine(request)

    row_id = fresh_api.asked()
    with working(fresh_api.url, Does(away)):
        [row] = settled(fresh_api, row_id)
    assert row["status"] == "recommended"
    states = [call["state"] for call in calls(fresh_api)]
    assert states == ["failed"] * (len(states) - 1) + ["completed"]
    assert len(states) == 2 * MAX_ATTEMPTS + 1


def test_an_outage_without_end_is_a_failure(fresh_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """After MAX_CLAIMS claims the request has failed after all, with the reason that the model gave."""
    monkeypatch.setattr(worker, "BACKOFF_S", (0.01, 0.02))

    def away(request: AgentRequest, before: int) -> AgentAnswer:
        raise AgentUnavailable("rate-limited", "later")

    row_id = fresh_api.asked()
    with connect(fresh_api.url) as conn:
        conn.execute("INSERT INTO request_claims VALUES (%s, 'dead', now(), %s)", [row_id, MAX_CLAIMS - 1])
    with working(fresh_api.url, Does(away)):
        [row] = settled(fresh_api, row_id)
    assert (row["status"], row["failure_reason"]) == ("failed", "rate-limited")


def test_a_claim_is_renewed_while_its_request_is_in_hand(fresh_api: Api) -> None:
    """A slow agent keeps its request however short the lease: no other worker asks about it."""

    finish = threading.Event()

    def slowly(request: AgentRequest, before: int) -> AgentAnswer:
        assert finish.wait(30)
        return fine(request)

    slow, other = Does(slowly), Does(fine)
    row_id = fresh_api.asked()
    with working(fresh_api.url, slow, lease_s=0.5), connect(fresh_api.url) as conn:
        eventually("the slow worker", lambda: slow.asked)
        first_lease = conn.execute("SELECT expires_at FROM request_claims").fetchone()
        with working(fresh_api.url, other) as rounds:
            over = "SELECT now() > %s"
            eventually("its first lease is over", lambda: conn.execute(over, first_lease).fetchone() == (True,))
            rounds.pass_by(3)
            finish.set()
            settled(fresh_api, row_id)
    assert (slow.asked, other.asked) == ([row_id], [])


def test_an_agent_that_hangs_is_given_up(fresh_api: Api) -> None:
    """After its timeout an agent is asked again, and after the last attempt the request has failed, with the reason."""

    given_up = threading.Event()

    def hangs(request: AgentRequest, before: int) -> AgentAnswer:
        given_up.wait(30)
        return fine(request)

    row_id = fresh_api.asked()
    with working(fresh_api.url, Does(hangs, timeout_s=0.1)):
        [row] = settled(fresh_api, row_id)
        given_up.set()
    assert (row["status"], row["failure_reason"]) == ("failed", "agent-timeout")
    assert [call["error_type"] for call in calls(fresh_api)] == ["agent-timeout"] * MAX_ATTEMPTS


def test_a_suspended_agent_is_not_asked(fresh_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """While its agent is suspended a worker leaves requests alone; once it is resumed they are answered."""
    monkeypatch.setattr(worker, "SUSPENDED_PAUSE_S", 0.02)
    agent = Does(fine)
    reason = {"reason": "looks odd"}
    subject(fresh_api.url, agent.name, "agent")
    with working(fresh_api.url, agent) as rounds:
        assert fresh_api.call("POST", f"/agents/{agent.name}/suspensions", "compliance", json=reason).status_code == 201
        rounds.pass_by(1)  # the round that was begun before
        row_id = fresh_api.asked()
        rounds.pass_by(3)
        assert fresh_api.get(f"/portfolio/requests/{row_id}").json()["status"] == "queued"
        assert calls(fresh_api) == []
        assert fresh_api.call("POST", f"/agents/{agent.name}/resumptions", "compliance", json=reason).status_code == 201
        [row] = settled(fresh_api, row_id)
    assert (row["status"], agent.asked) == ("recommended", [row_id])


def test_an_agent_that_breaks_its_own_schema(fresh_api: Api) -> None:
    """An answer that is not as the agent's schema says is no answer: the request fails, and the call with it."""
    agent = Does(fine)
    agent.answer_schema = "allocations/v1"
    row_id = fresh_api.asked()
    with working(fresh_api.url, agent):
        [row] = settled(fresh_api, row_id)
    assert (row["status"], row["failure_reason"]) == ("failed", "invalid-answer")
    assert [call["error_type"] for call in calls(fresh_api)] == ["invalid-answer"]


def test_a_response_brings_the_question_back(fresh_api: Api) -> None:
    """After a response the worker's agent is asked again, is shown the response, and its new answer supersedes."""
    seen: list[AgentRequest] = []

    def looks(request: AgentRequest, before: int) -> AgentAnswer:
        seen.append(request)
        return AgentAnswer({"round": before}, "does-as-told", "1", {})

    row_id = fresh_api.asked()
    with working(fresh_api.url, Does(looks)):
        [row] = settled(fresh_api, row_id)
        first = fresh_api.get(f"/recommendations/{row['recommendation_id']}").json()
        remark = {"digest": first["digest"], "outcome": "respond", "response": "and without bonds?"}
        path = f"/recommendations/{first['id']}/decisions"
        decided = fresh_api.call("POST", path, "advisor", json=remark)
        assert decided.status_code == 201, decided.text
        [row] = settled(fresh_api, row_id)
    second = fresh_api.get(f"/recommendations/{row['recommendation_id']}").json()
    assert (second["supersedes"], second["recommendation"]) == (first["id"], {"round": 1})
    assert fresh_api.get(f"/recommendations/{first['id']}").json()["superseded_by"] == second["id"]
    [shown] = seen[1].earlier
    assert (shown.id, shown.state, shown.response) == (first["id"], "returned", "and without bonds?")
    told = [(item["kind"], item["id"]) for item in calls(fresh_api)[1]["shown"]]
    decision = decided.json()["decision_id"]
    assert told == [("request", str(row_id)), ("recommendation", str(first["id"])), ("decision", str(decision))]


def test_a_refusal_is_an_answer(fresh_api: Api) -> None:
    """AgentRefused is recorded at once as request.failed, with its reason in clear and its words sealed."""
    agent = Does(refuses)
    row_id = fresh_api.asked(amount_usd="7.25")
    with working(fresh_api.url, agent, lease_s=0.2):
        [row] = settled(fresh_api, row_id)
    assert agent.asked == [row_id]
    assert (row["status"], row["failure_reason"]) == ("failed", "not-suitable")
    assert row["failure_detail"] == "nothing suits 7.25"
    assert row["recommendation_id"] is None
    with connect(fresh_api.url) as conn:
        found = conn.execute("SELECT body::json->'data' FROM events WHERE type = 'request.failed'").fetchall()
    assert found == [({"reason": "not-suitable"},)]


@pytest.mark.parametrize(
    ("recommendation", "reason"),
    [
        ({"weight": float("nan")}, "invalid-answer"),
        ({"text": "a\0b"}, "invalid-answer"),
        ({"text": "\ud800"}, "invalid-answer"),
        ({"size": 2**60}, "invalid-answer"),
        ("no object", "agent-fault"),
        (None, "agent-fault"),
    ],
    ids=repr,
)
def test_an_answer_that_is_none_is_a_failure(fresh_api: Api, recommendation: Any, reason: str) -> None:
    """An answer that may not be recorded fails its request with a reason; the worker and other requests go on."""

    def answer(request: AgentRequest, before: int) -> AgentAnswer:
        return AgentAnswer(recommendation, "m", "1", {}) if request.amount_usd == 1 else fine(request)

    bad, good = fresh_api.asked(amount_usd=1), fresh_api.asked(amount_usd=2)
    with working(fresh_api.url, Does(answer), lease_s=0.1):
        rows = settled(fresh_api, bad, good)
    assert [row["failure_reason"] for row in rows] == [reason, None]


def test_a_request_that_kills_workers_is_given_up(fresh_api: Api) -> None:
    """After MAX_CLAIMS claims that came to nothing, nobody is asked any more: the request has failed."""
    agent = Does(fine)
    row_id = fresh_api.asked()
    with connect(fresh_api.url) as conn:
        conn.execute("INSERT INTO request_claims VALUES (%s, 'dead', now(), %s)", [row_id, MAX_CLAIMS])
    with working(fresh_api.url, agent):
        [row] = settled(fresh_api, row_id)
    assert (row["failure_reason"], agent.asked) == ("agent-fault", [])


def test_a_worker_that_is_stopped_finishes_what_it_has(fresh_api: Api) -> None:
    """stop() lets the batch in hand be recorded, so nobody has to wait for its lease."""

    def until_it_stops(request: AgentRequest, before: int) -> AgentAnswer:
        assert rounds.stopping.wait(30)
        return fine(request)

    agent = Does(until_it_stops)
    row_id = fresh_api.asked()
    with working(fresh_api.url, agent) as rounds:
        eventually("the agent", lambda: agent.asked)
    assert fresh_api.get(f"/portfolio/requests/{row_id}").json()["status"] == "recommended"


@pytest.mark.slow
def test_a_thousand_queued_requests_are_answered_at_a_good_rate(fresh_api: Api) -> None:
    """A queue that has grown is worked off by one worker with the built-in agent at a rate that is worth having."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(lambda number: fresh_api.asked(client_id=f"client-{number}"), range(1000)))
    with working(fresh_api.url, BuiltinAgent()):
        eventually(
            "the last answer",
            lambda: fresh_api.items("/portfolio/requests", status="queued") == [],
            within_s=len(ids) / LEAST_RATE,
        )
    assert len(answers(fresh_api)) == 1000


def test_a_request_that_comes_back_is_not_held_by_its_old_claim(fresh_api: Api) -> None:
    """A response right after the answer queues the request for anybody, though the claim for the answer is not over."""
    row_id = fresh_api.asked()
    assert fresh_api.get(f"/portfolio/requests/{row_id}").json()["status"] == "queued"
    with connect(fresh_api.url, "writer") as conn:
        claim = "SELECT request_id, attempt FROM claim_requests('agent', interval '1 hour', 10)"
        assert conn.execute(claim).fetchall() == [(row_id, 1)]
        first = fresh_api.answered(row_id)
        digest = fresh_api.get(f"/recommendations/{first}").json()["digest"]
        remark = {"digest": digest, "outcome": "respond", "response": "once more"}
        assert fresh_api.call("POST", f"/recommendations/{first}/decisions", "advisor", json=remark).status_code == 201
        assert fresh_api.get(f"/portfolio/requests/{row_id}").json()["status"] == "queued"
        assert conn.execute(claim).fetchall() == [(row_id, 1)]
        assert conn.execute(claim).fetchall() == []


def test_a_claim_does_not_outlive_a_clock_that_went_back(fresh_api: Api) -> None:
    """A claim made while the clock was ahead counts as ended once it is right; postponed and fresh ones are kept."""
    ids = [fresh_api.asked() for _ in range(3)]
    assert fresh_api.get(f"/portfolio/requests/{ids[-1]}").json()["status"] == "queued"
    with connect(fresh_api.url, "writer") as conn, connect(fresh_api.url) as admin:
        claim = "SELECT request_id, attempt FROM claim_requests('me', interval '30 s', 10)"
        assert conn.execute(claim).fetchall() == [(row_id, 1) for row_id in ids]
        # The first was claimed while the clock was an hour ahead; the second is postponed for an hour.
        jump = "UPDATE request_claims SET {0} = {0} + interval '1 hour' WHERE request_id = {1}"
        for column in ("expires_at", "renewed_at"):
            admin.execute(sql.SQL(jump).format(sql.Identifier(column), ids[0]))
        conn.execute("SELECT hold_claims('me', interval '1 hour', %s)", [ids[1:2]])
        assert conn.execute(claim).fetchall() == [(ids[0], 2)]
        assert conn.execute(claim).fetchall() == []
