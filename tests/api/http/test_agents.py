"""Agents over HTTP: registered, suspended, resumed; a suspension holds at the moment of the append."""

from __future__ import annotations

import asyncio
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from api.services import services_of
from ledger.domain.subject import ROLES
from ledger.store.envelope import Line
from tests.api.acting import RESPOND, Acting, answer_of
from tests.api.served import Api, fields, problem
from tests.subjects import subject
from tests.support import connect

WHO: dict[str, set[str]] = {
    "registrations": {"admin"},
    "suspensions": {"advisor", "compliance", "admin"},
    "resumptions": {"compliance", "admin"},
}
BODIES: dict[str, dict[str, Any]] = {
    "registrations": {"answer_schema": "any/v1"},
    "suspensions": {"reason": "it is wrong"},
    "resumptions": {"reason": "it was mended"},
}


@pytest.fixture(scope="module")
def act(api: Api) -> Acting:
    """On the module's ledger."""
    return Acting(api)


@pytest.fixture
def robot(api: Api, request: pytest.FixtureRequest) -> str:
    """An agent of the test's own: its name, which is its token's key too."""
    name = f"robot-{zlib.crc32(request.node.name.encode())}"
    api.tokens[name] = subject(api.url, name, "agent")
    return name


def state(api: Api, name: str) -> dict[str, Any]:
    """The agent as it is read."""
    [found] = [one for one in api.items("/agents", limit=200) if one["name"] == name]
    return found


# 401, 403, 409, 422


@pytest.mark.parametrize("what", WHO)
def test_only_permitted_roles_command_agents(api: Api, act: Acting, robot: str, what: str) -> None:
    """No token: 401; another role, an agent among them: 403 that names those that may, whatever the body."""
    path = f"/agents/{robot}/{what}"
    with api.records_nothing():
        problem(act.post(path, None, BODIES[what]), 401, "no-token")
        problem(
            api.call("POST", path, None, json=BODIES[what], headers={"Authorization": "Bearer x"}), 401, "unknown-token"
        )
        for role in set(ROLES) - WHO[what]:
            found = problem(act.post(path, role, {"not": "good"}), 403, "wrong-role")
            assert all(name in found["detail"] for name in {role, *WHO[what]})


@pytest.mark.parametrize(
    ("what", "body", "field"),
    [
        ("registrations", {"answer_schema": "weights/v1"}, "answer_schema"),
        ("registrations", {"answer_schema": "any"}, "answer_schema"),
        ("registrations", {}, "answer_schema"),
        ("suspensions", {"reason": ""}, "reason"),
        ("suspensions", {}, "reason"),
        ("suspensions", {"reason": "x", "until": "then"}, "until"),
        ("resumptions", {"reason": "x" * 20_001}, "reason"),
    ],
)
def test_what_is_malformed_is_422_by_field(
    api: Api, act: Acting, robot: str, what: str, body: dict[str, Any], field: str
) -> None:
    """A schema that nobody can check, no reason, too long a one, and unknown members."""
    with api.records_nothing():
        assert fields(problem(act.post(f"/agents/{robot}/{what}", "admin", body), 422, "invalid")) == [field]


@pytest.mark.parametrize("name", ["Robot", "-x", "x" * 101, "a b", "é"])
@pytest.mark.parametrize("what", WHO)
def test_a_name_that_no_token_can_have_is_422(api: Api, act: Acting, what: str, name: str) -> None:
    """By the parameter's name."""
    with api.records_nothing():
        found = problem(act.post(f"/agents/{name}/{what}", "admin", BODIES[what]), 422, "invalid")
        assert fields(found) == ["name"]


def test_suspended_and_resumed_in_turn(api: Api, act: Acting, robot: str) -> None:
    """Each only from the other; both reasons, by whom and when, stay to be read."""
    with api.records_nothing():
        problem(act.command(robot, "resumptions"), 409, "subject-not-suspended")
    response = act.command(robot, "suspensions", "advisor", reason="odd answers")
    assert (response.status_code, response.json()) == (201, {"agent": robot, "event": "subject.suspended"})
    assert (int(response.headers["ledger-position"]), response.headers["ledger-hash"]) == api.head()
    with api.records_nothing():
        problem(act.command(robot, "suspensions", "compliance"), 409, "subject-suspended")
    row = state(api, robot)
    assert (row["suspended"], row["suspended_by"], row["suspend_reason"]) == (True, "advisor", "odd answers")
    assert row["resumed_at"] is None
    assert act.command(robot, "resumptions", "compliance", reason="mended").status_code == 201
    row = state(api, robot)
    assert (row["suspended"], row["resumed_by"], row["resume_reason"]) == (False, "compliance", "mended")
    assert row["suspended_at"] < row["resumed_at"]
    assert (row["suspended_by"], row["answer_schema"]) == ("advisor", None)


def test_an_agent_that_nobody_knows_is_404(api: Api, act: Acting) -> None:
    """A name that no token has, or that is a person's, is refused: such a suspension would stop nothing."""
    with api.records_nothing():
        for name in ("robbot", "advisor", "builtin"):
            for what in BODIES:
                problem(act.command(name, what), 404, "agent-unknown")
    assert act.command("builtin-model-portfolios", "suspensions").status_code == 201
    assert act.command("builtin-model-portfolios", "resumptions").status_code == 201


def test_commands_sent_again_are_recorded_once(api: Api, act: Acting, robot: str) -> None:
    """With a key, the first answer comes again; the same key for another agent, or with another reason, is a 409."""
    for what in ("registrations", "suspensions", "resumptions"):
        with act.records(1):
            first, second = (act.command(robot, what, key=f"k-{what}-{robot}") for _ in range(2))
        assert (second.status_code, second.json()) == (201, first.json())
        assert second.headers["ledger-position"] == first.headers["ledger-position"]
    with api.records_nothing():
        problem(act.command("agent", "suspensions", key=f"k-suspensions-{robot}"), 409, "idempotency-key-reused")
        problem(
            act.command(robot, "suspensions", key=f"k-suspensions-{robot}", reason="other"),
            409,
            "idempotency-key-reused",
        )
        assert act.command(robot, "suspensions", key=f"k-suspensions-{robot}").status_code == 201
    assert state(api, robot)["suspended"] is False


def test_a_registration_counts_from_then_on(api: Api, act: Acting, robot: str) -> None:
    """Earlier answers stay; later ones must follow the schema that was registered last."""
    wrong = answer_of("0.5")
    assert api.answer(api.asked(), robot, **wrong).status_code == 201
    assert act.command(robot, "registrations").status_code == 201
    assert state(api, robot)["answer_schema"] == "allocations/v1"
    request_id = api.asked()
    with api.records_nothing():
        problem(api.answer(request_id, robot, **wrong), 422, "answer-off-schema")
    assert act.command(robot, "registrations", answer_schema="any/v1").status_code == 201
    assert api.answer(request_id, robot, **wrong).status_code == 201


# Suspension


def test_nothing_is_taken_from_a_suspended_agent(api: Api, act: Acting, robot: str) -> None:
    """Neither calls nor answers, also to a request that was returned to it; ends of calls are: they are evidence.

    Other agents go on; what it had recorded stays and can be decided on; resumed, it answers again.
    """
    request_id, second = api.asked(), api.asked()
    call, done = act.started(request_id, robot), act.started(request_id, robot)
    assert act.end(done, role=robot).status_code == 201
    made = api.answered(second, role=robot)
    assert act.command(robot, "suspensions", "compliance").status_code == 201
    with api.records_nothing():
        found = problem(act.start(request_id, robot), 409, "agent-suspended")
        assert found["detail"] == "this agent is suspended until somebody resumes it"  # not: that nothing is taken
        problem(api.answer(request_id, robot), 409, "agent-suspended")
        problem(api.answer(request_id, robot, model_call_id=done), 409, "agent-suspended")
        failing = f"/portfolio/requests/{request_id}/failures"
        problem(act.post(failing, robot, {"reason": "no-answer"}), 409, "agent-suspended")
    assert act.end(call, role=robot).status_code == 201
    act.decided(made, **RESPOND)
    with api.records_nothing():
        problem(api.answer(second, robot), 409, "agent-suspended")
    assert api.answer(request_id, "agent").status_code == 201
    assert act.command(robot, "resumptions", "compliance").status_code == 201
    assert api.answer(second, robot).status_code == 201


def test_what_was_recorded_before_is_repeated_all_the_same(api: Api, act: Acting, robot: str) -> None:
    """A suspended agent that sends an answer again with its key gets the first one's receipt; nothing is recorded."""
    request_id = api.asked()
    first = api.answer(request_id, robot, key=f"a-{robot}")
    assert act.command(robot, "suspensions").status_code == 201
    with api.records_nothing():
        again = api.answer(request_id, robot, key=f"a-{robot}")
        assert (again.status_code, again.json()) == (201, first.json())
        problem(api.answer(request_id, robot, key=f"b-{robot}"), 409, "agent-suspended")


@pytest.mark.parametrize("attempt", range(3))
def test_no_answer_comes_after_the_suspension(api: Api, act: Acting, robot: str, attempt: int) -> None:
    """Answers and calls race one suspension: after its position nothing of the agent is recorded.

    This holds although the service read the state before it. Each 201 is for an event before it.
    """
    requests = [api.asked() for _ in range(24)]
    start = threading.Barrier(9)

    def answer(number: int) -> list[httpx.Response]:
        start.wait(30)
        mine = requests[number::8]
        return [response for one in mine for response in (act.start(one, robot), api.answer(one, robot))]

    def suspend() -> httpx.Response:
        start.wait(30)
        # In the middle of it.
        threading.Event().wait(0.02 * (attempt + 1))
        return act.command(robot, "suspensions", "compliance")

    with ThreadPoolExecutor(9) as pool:
        stopping = pool.submit(suspend)
        found = [response for several in pool.map(answer, range(8)) for response in several]
        stopped = stopping.result()
    assert stopped.status_code == 201
    at = int(stopped.headers["ledger-position"])
    for response in found:
        if response.status_code == 201:
            assert int(response.headers["ledger-position"]) < at
        else:
            problem(response, 409, "agent-suspended")
    with connect(api.url) as conn:
        later = conn.execute(
            "SELECT position FROM events WHERE position > %s AND body::json->'actor'->>'id' = %s", [at, robot]
        ).fetchall()
    assert later == []
    with api.records_nothing():
        for request_id in requests:
            problem(act.start(request_id, robot), 409, "agent-suspended")


def test_a_suspension_between_the_look_and_the_append_refuses_the_answer(
    api: Api, act: Acting, robot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service has looked and found the agent running; it is suspended before the append; the answer is refused."""
    writer = services_of(api.app).ledger.writer
    append_lines = writer.append_lines
    request_id = api.asked()
    tried: list[int] = []

    async def late(lines: list[Line]) -> Any:
        if not tried and any(line.type == "recommendation.recorded" for line in lines):
            tried.append(1)
            # In another thread, through the same application, while the answer is on its way.
            stopped = await asyncio.to_thread(act.command, robot, "suspensions", "compliance")
            assert stopped.status_code == 201
        return await append_lines(lines)

    monkeypatch.setattr(writer, "append_lines", late)
    with act.records(1):
        problem(api.answer(request_id, robot), 409, "agent-suspended")
    assert tried == [1]
    assert api.get(f"/portfolio/requests/{request_id}").json()["status"] == "queued"


def test_of_many_suspensions_at_once_one_is_recorded(api: Api, act: Acting, robot: str) -> None:
    """The second suspension is refused as already suspended."""
    with act.records(1), ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: act.command(robot, "suspensions", "compliance"), range(6)))
    assert sorted(response.status_code for response in found) == [201] + [409] * 5
