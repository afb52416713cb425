"""A worker that is told to stop leaves no call without an end, and its requests to others at once."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.agents.builtin.agent import BuiltinAgent
from api.agents.protocol import AgentAnswer, AgentRequest
from api.agents.run import worker
from schema.events import CallStart
from tests.api.program import cli, serving, variables
from tests.api.served import ASK, Api
from tests.faults.workers import Does, fine, working
from tests.support import connect, eventually


def calls(api: Api, state: str) -> list[str | None]:
    """The errors of the calls in this state."""
    return [call["error_type"] for call in api.items("/model-calls", state=state)]


def status(api: Api, *ids: int) -> set[str]:
    """The states of these requests."""
    return {api.get(f"/portfolio/requests/{row_id}").json()["status"] for row_id in ids}


def recorded(api: Api, kind: str) -> int:
    """The number of events of this type."""
    with connect(api.url) as conn:
        return int(conn.execute("SELECT count(*) FROM events WHERE type = %s", [kind]).fetchall()[0][0])


def test_a_stop_under_load_leaves_no_orphan(fresh_api: Api) -> None:
    """Stopped again and again while it claims and answers: no call stays open, and each request has one answer."""
    asked = 0
    for _ in range(4):
        for _ in range(15):
            fresh_api.ask()
        asked += 15
        enough = asked - 12
        with working(fresh_api.url, BuiltinAgent(), batch=10):
            eventually("answers", lambda least=enough: recorded(fresh_api, "recommendation.recorded") >= least)
        assert recorded(fresh_api, "model-call.started") == recorded(fresh_api, "model-call.completed")
    with working(fresh_api.url, BuiltinAgent()):
        eventually("all answers", lambda: recorded(fresh_api, "recommendation.recorded") == asked)
    assert recorded(fresh_api, "model-call.completed") == asked


def test_calls_that_take_too_long_end_as_stopped(fresh_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the grace their ends are recorded, their claims released, and another worker answers them at once."""
    monkeypatch.setattr(worker, "GRACE_S", 0.2)
    released = threading.Event()

    def hangs(request: AgentRequest, before: int) -> AgentAnswer:
        released.wait(30)
        return fine(request)

    ids = [fresh_api.asked() for _ in range(4)]
    agent = Does(hangs)
    with working(fresh_api.url, agent, lease_s=3600):
        eventually("all calls are made", lambda: len(agent.asked) == len(ids))
    assert calls(fresh_api, "open") == []
    assert calls(fresh_api, "failed") == ["agent-stopped"] * len(ids)
    assert status(fresh_api, *ids) == {"queued"}
    released.set()
    with working(fresh_api.url, Does(fine)):
        eventually("answers of another worker", lambda: status(fresh_api, *ids) == {"recommended"})
    assert calls(fresh_api, "failed") == ["agent-stopped"] * len(ids)


def test_nothing_is_started_after_a_stop(fresh_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that still prepares when the worker stops makes no call, and its request is free at once."""
    monkeypatch.setattr(worker, "GRACE_S", 0.2)
    preparing, released = threading.Event(), threading.Event()

    class Prepares(Does):
        def prepare(self, request: AgentRequest) -> CallStart:
            preparing.set()
            released.wait(30)
            return super().prepare(request)

    row_id = fresh_api.asked()
    with working(fresh_api.url, Prepares(fine), lease_s=3600):
        assert preparing.wait(30)
    assert fresh_api.items("/model-calls") == []
    released.set()
    with working(fresh_api.url, Does(fine)):
        eventually("an answer", lambda: status(fresh_api, row_id) == {"recommended"})


@pytest.mark.slow  # a server of its own, whose model never answers
def test_a_server_that_is_told_to_stop_ends_its_calls(tmp_path: Path) -> None:
    """SIGTERM while the model is asked: exit code 0, no call stays open, and the request is free at once."""
    data = tmp_path / "data"
    with socket.create_server(("127.0.0.1", 0)) as model:
        agent = {"agent": "openai", "agent_model": "m", "agent_url": f"http://127.0.0.1:{model.getsockname()[1]}/v1"}
        with serving("--data-dir", data, env=variables(**agent)) as server:
            headers = {"Authorization": f"Bearer {server.tokens()['advisor']}"}
            httpx.post(f"{server.base}/portfolio/recommendations", json=ASK, headers=headers).raise_for_status()
            model.settimeout(30)
            asked, _ = model.accept()
            with asked:
                assert asked.recv(1)
                assert server.stop() == 0
    assert cli("orphans", "--older-than", 0, "--data-dir", data).code == 0
    with serving("--data-dir", data) as server:
        path = f"{server.base}/portfolio/requests/1"
        found = eventually("an answer", lambda: answered(httpx.get(path, headers=headers)), within_s=20)
        assert found["status"] == "recommended"
        calls = httpx.get(f"{server.base}/model-calls", headers=headers).json()["items"]
        assert sorted((call["state"], call["error_type"]) for call in calls)[1:] == [("failed", "agent-stopped")]


def answered(response: httpx.Response) -> dict[str, Any] | None:
    """The request, once it has an answer."""
    found: dict[str, Any] = response.raise_for_status().json()
    return found if found["status"] != "queued" else None
