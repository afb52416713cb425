"""advice-ledger replay on the record of a real server and its worker: identical, different, or failed with a reason."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from api.agents.builtin import agent as builtin
from api.agents.builtin.agent import BuiltinAgent
from api.agents.house_policy import load_policy
from api.agents.openai.agent import OpenAICompatibleAgent
from api.agents.optimiser.agent import OptimiserAgent
from api.agents.protocol import AgentAnswer, AgentRefused, AgentRequest
from api.cli import app
from api.cli.configure import operator
from api.settings import variable
from schema.events import CallStart
from tests.api.agents.openai_server import Server, serving
from tests.api.program import Ran
from tests.api.served import Api, served
from tests.support import connect, eventually, login_role

API_KEY = variable("agent_api_key")
KEY = "sk-test-0123456789-secret"
EVENTS = "SELECT position, body::json FROM events WHERE position > %s ORDER BY position"


@pytest.fixture
def working(database_url: str) -> Iterator[Api]:
    """A server whose worker asks the built-in agent, on a ledger of its own."""
    with served(database_url, run_worker=True) as api:
        yield api


def run(url: str, *arguments: object, **env: str) -> Ran:
    """Run `advice-ledger replay` in this process, where the agents are already imported."""
    given = ["replay", *map(str, arguments), "--database-url", url]
    found = CliRunner().invoke(app, given, env={API_KEY: None, "ADVICE_LEDGER_AGENT_URL": None, **env})
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return Ran(found.exit_code, found.stdout, found.stderr)


def replayed(api: Api, request_id: int, *more: object, **env: str) -> tuple[Ran, dict[str, Any]]:
    """Run it with --json, and check that exactly its one event was recorded, with the outcome of the report."""
    before, _ = api.head()
    ran = run(api.url, "--request", request_id, "--json", *more, **env)
    found = ran.json()
    with connect(api.url) as conn:
        [(position, body)] = conn.execute(EVENTS, [before]).fetchall()
    assert (position, body["stream"]) == (found["recorded_at_position"], f"request-{request_id}")
    assert (body["type"], "sealed" in body) == ("recommendation.replayed", False)
    assert body["actor"] == {"id": operator(), "kind": "human", "role": "operator"}
    members = ("recommendation_id", "as_of", "agent_version", "outcome")
    assert body["data"] == {name: found[name] for name in members if found[name] is not None}
    assert ran.code == {"identical": 0, "different": 1, "failed": 2}[found["outcome"]]
    return ran, found


def answered(api: Api, request_id: int, after: int | None = None) -> int:
    """Return the id of the request's recommendation, once it has one other than `after`."""

    def look() -> int | None:
        row = api.get(f"/portfolio/requests/{request_id}").json()
        number: int | None = row["recommendation_id"]
        return number if row["status"] == "recommended" and number != after else None

    found: int = eventually("an answer", look)
    return found


def decide(api: Api, recommendation_id: int, outcome: str, **more: str) -> None:
    """Decide as an advisor."""
    digest = api.get(f"/recommendations/{recommendation_id}").json()["digest"]
    body = {"digest": digest, "outcome": outcome, **more}
    response = api.call("POST", f"/recommendations/{recommendation_id}/decisions", json=body)
    assert response.status_code == 201, response.text


def claims(api: Api) -> int:
    """Count the requests in a worker's hands."""
    with connect(api.url) as conn:
        [[number]] = conn.execute("SELECT count(*) FROM request_claims").fetchall()
    return int(number)


def paths(report: dict[str, Any]) -> list[str]:
    """Return the paths of the differences."""
    return [found["path"] for found in report["differences"]]


def change_sealed(url: str, position: int, name: str, change: Any) -> None:
    """Change a sealed value as a superuser, with the ledger's triggers disabled."""
    with connect(url) as conn:
        conn.execute("ALTER TABLE sealed_fields DISABLE TRIGGER ALL")
        row = conn.execute("SELECT fields FROM sealed_fields WHERE position = %s", [position]).fetchone()
        assert row is not None
        fields = {**row[0], name: change(row[0][name])}
        conn.execute("UPDATE sealed_fields SET fields = %s WHERE position = %s", [json.dumps(fields), position])


# --- the same ---------------------------------------------------------------------------------------------------------


def test_the_built_in_agent_answers_the_same(working: Api) -> None:
    """Exit 0, call and answer identical bit for bit; the text says so and names the recorded event."""
    request_id = working.asked(notes="some notes, Ünïcode 🙂", constraints={"max_equity": "0.40"})
    number = answered(working, request_id)
    ran, found = replayed(working, request_id)
    assert (ran.code, ran.err) == (0, "")
    call = working.get(f"/recommendations/{number}").json()["model_call_id"]
    assert found == {
        "request_id": request_id,
        "recommendation_id": number,
        "model_call_id": call,
        "as_of": working.get(f"/model-calls/{call}").json()["as_of"],
        "agent": BuiltinAgent.name,
        "agent_version": BuiltinAgent().version,
        "deterministic": True,
        "outcome": "identical",
        "asked": "identical",
        "answered": "identical",
        "differences": [],
        "more_differences": 0,
        "reason": None,
        "detail": None,
        "recorded_at_position": found["recorded_at_position"],
    }
    ran = run(working.url, "--request", request_id)
    assert (ran.code, ran.err) == (0, "")
    assert "identical: the same question and the same answer, bit for bit\n" in ran.out
    assert ran.out.endswith(f"recorded as event {working.head()[0]}; the new answer is not kept\n")
    assert working.get(f"/recommendations/{number}").json()["state"] == "proposed"


def test_a_replay_does_not_see_later_events(working: Api) -> None:
    """The second answer was given while the first was proposed, and is replayed with that state."""
    first = answered(working, working.asked())
    second = working.asked()
    answered(working, second)
    decide(working, first, "approve")
    answered(working, working.asked())
    now = working.get(f"/portfolio/requests/{second}/context").json()
    assert [one["state"] for one in now["earlier"]] == ["proposed", "proposed", "approved"]
    _, found = replayed(working, second)
    assert found["outcome"] == "identical"


def test_a_superseded_answer_is_replayed_without_the_response(working: Api) -> None:
    """The current answer is replayed with the response it took into account, the first one without."""
    request_id = working.asked()
    first = answered(working, request_id)
    eventually(
        "the worker to let go of it", lambda: claims(working) == 0
    )  # or it would be asked when the lease is over
    decide(working, first, "respond", response="less equity, please")
    second = answered(working, request_id, after=first)
    for more, expected in (((), second), (("--recommendation", first), first)):
        _, found = replayed(working, request_id, *more)
        assert (found["outcome"], found["recommendation_id"]) == ("identical", expected)


def test_the_optimiser_answers_the_same(database_url: str) -> None:
    """The solver's numbers are identical, from an agent made from the recorded version alone."""
    agent = OptimiserAgent(date(2015, 12, 31), assets=5)
    with served(database_url, run_worker=True, make_agent=lambda: agent) as api:
        request_id = api.asked()
        answered(api, request_id)
        _, found = replayed(api, request_id)
    assert (found["outcome"], found["agent_version"]) == ("identical", agent.version)


# --- different --------------------------------------------------------------------------------------------------------


def test_another_answer_is_shown(working: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the same version computes something else: exit 1, with the place and both values."""
    request_id = working.asked()
    answered(working, request_id)
    answer = BuiltinAgent.answer

    def otherwise(self: BuiltinAgent, request: AgentRequest, call: CallStart) -> AgentAnswer:
        found = answer(self, request, call)
        changed: Any = json.loads(json.dumps(found.recommendation))
        changed["allocations"][0]["weight"] = "0.9999"
        return replace(found, recommendation={**changed, "note\x1b[2J\u202e": "added"})

    monkeypatch.setattr(BuiltinAgent, "answer", otherwise)
    ran, found = replayed(working, request_id)
    assert (found["asked"], found["answered"]) == ("identical", "different")
    assert paths(found) == [
        "answer.recommendation.allocations[0].weight",
        "answer.recommendation.note\x1b[2J\u202e",
    ]
    assert found["differences"][0]["replayed"] == '"0.9999"'
    assert found["differences"][1]["recorded"] is None
    ran = run(working.url, "--request", request_id)
    assert ran.code == 1
    assert "different, although this agent is deterministic" in ran.out
    assert "answer.recommendation.note\\x1b[2J\\u202e\n" in ran.out


def test_another_question_is_shown(working: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path leads into the recorded message, to an earlier answer in it."""
    answered(working, working.asked())
    request_id = working.asked(notes="as it was")
    answered(working, request_id)
    prepare = BuiltinAgent.prepare

    def otherwise(self: BuiltinAgent, request: AgentRequest) -> CallStart:
        seen: Any = request.earlier[0].recommendation
        earlier = replace(request.earlier[0], recommendation={**seen, "kind": "another"})
        return prepare(self, replace(request, notes="s3cret", earlier=(earlier,)))

    monkeypatch.setattr(BuiltinAgent, "prepare", otherwise)
    _, found = replayed(working, request_id)
    message = "call.input_messages[0].parts[0].content"
    assert (found["outcome"], found["asked"]) == ("different", "different")
    assert paths(found)[:2] == [f"{message}.earlier[0].recommendation.kind", f"{message}.request.notes"]


# --- a record that was changed ----------------------------------------------------------------------------------------


@pytest.mark.tampers
@pytest.mark.parametrize("which", ["answer", "question", "seen", "request"])
def test_a_changed_record_is_not_blamed_on_the_agent(working: Api, which: str) -> None:
    """A changed sealed value in the answer, the message or any shown event: failed, with its position, exit 2."""
    first = answered(working, working.asked())
    request_id = working.asked(notes="as it was")
    number = answered(working, request_id)
    call = working.get(f"/recommendations/{number}").json()["model_call_id"]
    with connect(working.url) as conn:
        stream = f"request-{request_id}"
        row = conn.execute("SELECT min(position) FROM events WHERE stream = %s", [stream]).fetchone()
    assert row is not None
    position, name = {
        "answer": (number, "recommendation"),
        "question": (call, "input_messages"),
        "seen": (first, "recommendation"),
        "request": (row[0], "notes"),
    }[which]
    change_sealed(working.url, position, name, lambda _: "s3cret")
    ran, found = replayed(working, request_id)
    assert (found["outcome"], found["reason"], found["asked"]) == ("failed", "record-altered", None)
    assert f"event {position}: the sealed {name} is not what the event commits to" in found["detail"]
    assert "s3cret" not in ran.out


@pytest.mark.tampers
def test_a_changed_body_is_not_blamed_on_the_agent(working: Api) -> None:
    """Changed members in clear, which the event's hash covers, are found as well."""
    request_id = working.asked()
    number = answered(working, request_id)
    with connect(working.url) as conn:
        conn.execute("ALTER TABLE events DISABLE TRIGGER ALL")
        conn.execute(
            'UPDATE events SET body = replace(body, \'"parameters":{\', \'"parameters":{"x":1,\') WHERE position = %s',
            [number],
        )
    _, found = replayed(working, request_id)
    assert (found["reason"], found["answered"]) == ("record-altered", None)
    assert f"event {number}: its hash" in found["detail"]


# --- an agent that is not deterministic -------------------------------------------------------------------------------


def proposal(summary: str, cash: str) -> str:
    """Write a model's answer that divides the money in two."""
    weights = {"government_bonds": f"{1 - float(cash):.2f}", "cash": cash}
    shares = [{"asset_class": name, "weight": weight, "rationale": "because"} for name, weight in weights.items()]
    return json.dumps({"summary": summary, "allocations": shares})


@pytest.fixture
def model() -> Iterator[Server]:
    """A server of a language model."""
    with serving() as server:
        server.says(proposal("A first.", "0.25"))
        yield server


@contextlib.contextmanager
def asking(url: str, model: Server) -> Iterator[tuple[Api, int]]:
    """A server whose worker asks this model, and an answered request."""
    agent = OpenAICompatibleAgent(model.url, "test-model", api_key=KEY, temperature=0.25, seed=7, timeout_s=5.0)
    with served(url, run_worker=True, make_agent=lambda: agent) as api:
        request_id = api.asked(notes="s3cret notes")
        answered(api, request_id)
        yield api, request_id


def test_a_language_model_may_answer_otherwise(database_url: str, model: Server) -> None:
    """The same call is sent again; the other answer is reported as expected, and not kept."""
    with asking(database_url, model) as (api, request_id):
        where = ("--agent-url", model.url)
        assert replayed(api, request_id, *where, **{API_KEY: KEY})[1]["outcome"] == "identical"
        model.says(proposal("A second.", "0.50"))
        ran, found = replayed(api, request_id, ADVICE_LEDGER_AGENT_URL=model.url, **{API_KEY: KEY})
        assert (found["asked"], found["answered"], found["deterministic"]) == ("identical", "different", False)
        assert "answer.recommendation.summary" in paths(found)
        text = run(api.url, "--request", request_id, *where, **{API_KEY: KEY})
        assert text.code == 1
        assert "different, as expected" in text.out
        assert KEY not in ran.out + ran.err + text.out + text.err
        assert "A second." not in api.get("/recommendations").text
    first, *others = model.received
    assert len(others) == 3
    assert all((one.body, one.headers["authorization"]) == (first.body, f"Bearer {KEY}") for one in others)


def test_a_replay_without_an_answer_of_the_model_fails_with_its_reason(database_url: str, model: Server) -> None:
    """Without an address nothing is sent; with another model, or without an answer: failed with the reason."""
    with asking(database_url, model) as (api, request_id):
        _, found = replayed(api, request_id)
        assert found["reason"] == "no-server"
        assert model.url in found["detail"]
        _, found = replayed(api, request_id, "--agent-url", model.url, "--agent-model", "other")
        assert (found["reason"], found["asked"]) == ("agent-unknown", None)
        assert len(model.received) == 1
        _, found = replayed(api, request_id, "--agent-url", "ftp://nowhere")
        assert found["reason"] == "agent-options"
        model.sends({}, status=500)
        _, found = replayed(api, request_id, "--agent-url", model.url)
        assert (found["reason"], found["asked"], found["answered"]) == ("provider-error", "identical", None)


# --- what cannot be replayed ------------------------------------------------------------------------------------------


def test_another_version_is_not_passed_off(working: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change of the policy file: failed, exit 2, and the message has both versions."""
    request_id = working.asked()
    answered(working, request_id)
    recorded = BuiltinAgent().version
    changed = replace(load_policy(), version="9.9.9")
    monkeypatch.setattr(builtin, "load_policy", lambda: changed)
    _, found = replayed(working, request_id)
    assert (found["outcome"], found["reason"], found["asked"]) == ("failed", "agent-unknown", None)
    assert recorded in found["detail"]
    assert BuiltinAgent().version in found["detail"]
    ran = run(working.url, "--request", request_id)
    assert ran.code == 2
    assert "failed: agent-unknown: builtin-model-portfolios" in ran.out


def test_a_refusal_of_the_agent_is_the_reason_of_a_failed_replay(working: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent's refusal is the reason; the report also says that the call was identical."""
    request_id = working.asked()
    answered(working, request_id)

    def refuse(_self: BuiltinAgent, _request: AgentRequest, _call: CallStart) -> None:
        raise AgentRefused("not-today", "come back tomorrow")

    monkeypatch.setattr(BuiltinAgent, "answer", refuse)
    _, found = replayed(working, request_id)
    told = (found["outcome"], found["reason"], found["detail"], found["asked"], found["answered"])
    assert told == ("failed", "not-today", "come back tomorrow", "identical", None)


def test_an_answer_over_http_without_a_call_or_an_agent_is_not_replayed(fresh_api: Api) -> None:
    """Without a model call the input is unknown; with one, the agent may be unknown. Both are named."""
    request_id = fresh_api.asked()
    fresh_api.answered(request_id, model_version="7")
    _, found = replayed(fresh_api, request_id)
    told = (found["outcome"], found["reason"], found["agent"], found["agent_version"])
    assert told == ("failed", "not-from-a-call", "agent", "7")
    second = fresh_api.asked()
    path = f"/portfolio/requests/{second}/model-calls"
    call = {"provider_name": "somebody", "request_model": "model-a"}
    for more, reason in (({}, "not-told"), ({"agent_version": "7", "as_of": 1}, "agent-unknown")):
        second = fresh_api.asked()
        path = f"/portfolio/requests/{second}/model-calls"
        call_id = fresh_api.call("POST", path, "agent", json={**call, **more}).json()["model_call_id"]
        ended = fresh_api.call("POST", f"/model-calls/{call_id}/completion", "agent", json={"output_messages": []})
        assert ended.status_code == 201, ended.text
        fresh_api.answered(second, model_call_id=call_id)
        _, found = replayed(fresh_api, second)
        assert (found["reason"], found["agent"]) == (reason, "agent")
    assert "no agent 'agent'" in found["detail"]


@pytest.mark.tampers
def test_a_replay_needs_the_erased_values(working: Api) -> None:
    """If an earlier answer that the agent saw was erased: failed, not different."""
    first = answered(working, working.asked())
    request_id = working.asked()
    answered(working, request_id)
    with connect(working.url) as conn:
        conn.execute("ALTER TABLE sealed_fields DISABLE TRIGGER ALL")
        conn.execute("DELETE FROM sealed_fields WHERE position = %s", [first])
    _, found = replayed(working, request_id)
    assert (found["outcome"], found["reason"]) == ("failed", "erased")


@pytest.mark.tampers
def test_the_context_has_nothing_of_values_that_were_deleted_by_hand(working: Api) -> None:
    """If a client's values were deleted and the read models do not know it yet, the context has no past of theirs."""
    answered(working, working.asked())
    request_id = working.asked()
    with connect(working.url) as conn:
        conn.execute("ALTER TABLE sealed_fields DISABLE TRIGGER ALL; DELETE FROM sealed_fields")
        conn.execute("ALTER TABLE stream_clients DISABLE TRIGGER ALL; DELETE FROM stream_clients")
    context = working.get(f"/portfolio/requests/{request_id}/context")
    assert (context.status_code, context.json()["earlier"]) == (200, [])


def test_a_replay_of_what_does_not_exist_is_refused(fresh_api: Api) -> None:
    """No such request, no answer yet, another request's answer: one line, exit 2, and nothing recorded."""
    request_id = fresh_api.asked()
    other = fresh_api.asked()
    number = fresh_api.answered(other)
    with fresh_api.records_nothing():
        assert run(fresh_api.url, "--request", 99).failed_with("there is no request 99")
        assert run(fresh_api.url, "--request", request_id).failed_with("has no recommendation")
        ran = run(fresh_api.url, "--request", request_id, "--recommendation", number)
        assert ran.failed_with(f"{number} is not a recommendation of request {request_id}")
        assert run(fresh_api.url, "--request", 0).code == 2


def test_a_login_that_may_not_record_is_refused_before_anything_runs(
    working: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader is refused before anything runs; a reader with the writer's rights is enough."""
    request_id = working.asked()
    answered(working, request_id)
    with login_role(working.url, "PASSWORD 'test'", member_of="ledger_reader") as login:
        url = make_conninfo(working.url, user=login, password="test")
        with working.records_nothing(), monkeypatch.context() as patch:
            patch.setattr(BuiltinAgent, "prepare", None)
            assert run(url, "--request", request_id).failed_with("every change is recorded", login, "ledger_writer")
        with connect(working.url) as conn:
            conn.execute(sql.SQL("GRANT ledger_writer TO {}").format(sql.Identifier(login)))
        assert run(url, "--request", request_id).code == 0
