"""Workers on one queue: each request is answered once, whoever dies, fails or refuses on the way."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from api.agents.builtin import BuiltinAgent
from api.agents.protocol import AgentAnswer, AgentRequest
from api.worker import MAX_ATTEMPTS, MAX_CLAIMS
from tests.api.served import Api, wait_for
from tests.faults.workers import Does, fine, process, refuses, working
from tests.support import connect

# Far below what a worker does alone on a machine, so that a busy one passes: 300 a second is what we aim at.
LEAST_RATE = 40


def answers(api: Api) -> Counter[str]:
    """How many answers each request has."""
    with connect(api.url) as conn:
        rows = conn.execute("SELECT stream, version - 1 FROM events WHERE version > 1").fetchall()
    found: Counter[str] = Counter()
    for stream, nth in rows:
        found[stream] = max(found[stream], nth)
    return found


def settled(api: Api, *ids: int) -> list[dict[str, Any]]:
    """The requests, once none of them is queued."""

    def rows() -> list[dict[str, Any]] | None:
        found = [api.get(f"/portfolio/requests/{row_id}").json() for row_id in ids]
        return None if any(row["status"] == "queued" for row in found) else found

    found: list[dict[str, Any]] = wait_for("answers", rows)
    return found


def test_several_workers_answer_each_request_once(fresh_api: Api) -> None:
    """Three processes on one queue of many requests: each has exactly one answer, and all had a share in it."""
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(process(fresh_api.url, "builtin", batch=3))
        ids = [fresh_api.asked(client_id=f"client-{number}") for number in range(150)]
        rows = settled(fresh_api, *ids)
    assert {row["status"] for row in rows} == {"recommended"}
    assert answers(fresh_api) == Counter({f"request-{row_id}": 1 for row_id in ids})


def test_a_killed_workers_claims_expire(fresh_api: Api) -> None:
    """A worker that is killed -9 after claiming answers nothing; when its lease is over, another does."""
    ids = [fresh_api.asked() for _ in range(3)]
    with process(fresh_api.url, "sleeps", lease_s=1.5) as dying:
        assert dying.stdout is not None
        assert dying.stdout.readline().startswith("asked ")
        claimed = time.monotonic()
        dying.kill()
        with working(fresh_api.url, BuiltinAgent()):
            rows = settled(fresh_api, *ids)
    assert time.monotonic() - claimed > 1
    assert {row["status"] for row in rows} == {"recommended"}
    assert answers(fresh_api) == Counter({f"request-{row_id}": 1 for row_id in ids})


def test_an_answer_that_comes_too_late_is_not_recorded(fresh_api: Api) -> None:
    """A worker that takes longer than its lease is overtaken by another; its own answer is refused, without harm."""

    def late(request: AgentRequest, before: int) -> AgentAnswer:
        time.sleep(1.2)
        return AgentAnswer({"late": True}, "late", "1", {})

    slow = Does(late)
    row_id = fresh_api.asked()
    with working(fresh_api.url, slow, lease_s=0.3):
        wait_for("the slow worker", lambda: slow.asked)
        with working(fresh_api.url, Does(fine)):
            settled(fresh_api, row_id)
            time.sleep(1.2)
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
    assert set(answers(fresh_api).values()) == {1}


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
    """What may not be recorded ends the request with a reason, and neither the worker nor the requests beside it."""

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

    def slowly(request: AgentRequest, before: int) -> AgentAnswer:
        time.sleep(0.5)
        return fine(request)

    agent = Does(slowly)
    row_id = fresh_api.asked()
    with working(fresh_api.url, agent):
        wait_for("the agent", lambda: agent.asked)
    assert fresh_api.get(f"/portfolio/requests/{row_id}").json()["status"] == "recommended"


def test_a_thousand_queued_requests(fresh_api: Api, record_property: Callable[[str, object], None]) -> None:
    """A queue that has grown is worked off by one worker with the built-in agent at a rate that is worth having."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(lambda number: fresh_api.asked(client_id=f"client-{number}"), range(1000)))
    began = time.monotonic()
    with working(fresh_api.url, BuiltinAgent()):
        wait_for("the last answer", lambda: fresh_api.items("/portfolio/requests", status="queued") == [], 60)
    rate = len(ids) / (time.monotonic() - began)
    record_property("answers_per_s", round(rate))
    assert len(answers(fresh_api)) == 1000
    assert rate > LEAST_RATE
