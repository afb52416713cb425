"""Any sequence of commands over HTTP, from any actors, some at the same moment, does what tests/model/pipeline.py says.

Every refusal leaves the head where it is, and at the end of each example every read model, live, rebuilt and as of
earlier positions, says what the model says.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from projections.rebuild import rebuild_read_models
from projections.registry import all_models
from tests.api.served import PROBLEM_JSON, Api, check_ledger, ledger_copy, served
from tests.conftest import Template
from tests.model.pipeline import LARGE, Command, Learned, Recommendation, Request, World
from tests.subjects import subjects
from tests.support import connect

UNKNOWN = 2**53 - 1
ELSEWHERE = "e" * 64
# Two of each, and one who may do nothing here.
PEOPLE = {"ann": "advisor", "abe": "advisor", "cara": "compliance", "carl": "compliance", "adam": "admin"}
ROBOTS = {"r1": "agent", "r2": "agent"}
ACTORS = {**PEOPLE, **ROBOTS, "audrey": "auditor"}
REASONS = ["house-view", "market-event", "other", "nonsense"]
# The commands depend on the outcome of races, so hypothesis draws only a seed for each step.
DICE = st.integers(0, 2**32 - 1).map(Random)
_examples = itertools.count(1)


class Pipeline(RuleBasedStateMachine):
    """Sends each command to the server and to the model, and compares what comes back."""

    api: Api
    pool: ThreadPoolExecutor

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.prefix = f"x{next(_examples)}-"
        made = subjects(self.api.url, {self.prefix + name: role for name, role in ACTORS.items()})
        self.tokens = {name: made[self.prefix + name] for name in ACTORS}
        self.conn = connect(self.api.url)
        self.sent: list[Command] = []
        self.registered = False
        self.seen: list[tuple[int, dict[str, Any]]] = []

    def head(self) -> int:
        """The newest position."""
        (position,) = self.conn.execute("SELECT position FROM head").fetchall()[0]
        return int(position)

    # Drawing commands

    def command(self, dice: Random, kind: str, among: Sequence[str], about: int | str, body: Any) -> Command:
        """By one of the names, seldom by somebody else; at times with a key, of few."""
        odd = dice.randrange(16) == 0
        name = dice.choice(list(ACTORS) if odd else among)
        # Mostly used again for the same kind of command.
        key = dice.choice([None, None, None, None, f"{kind}-1", f"{kind}-2", "any"])
        return Command(kind, self.prefix + name, ACTORS[name], about, body, key)

    def mostly(self, dice: Random, known: Sequence[int]) -> int:
        """Draw a known id, later ones more often; seldom an unknown one."""
        if not known or dice.randrange(16) == 0:
            return UNKNOWN
        return dice.choice([*known, *known[-2:], *known[-1:]])

    def draw_ask(self, dice: Random) -> Command:
        """A request for a small or a large amount."""
        amount = dice.choice(["1000.00", LARGE])
        body = {"client_id": f"{self.prefix}client", "risk_profile": "balanced", "amount_usd": amount}
        return self.command(dice, "ask", ["ann", "abe"], "", body)

    def draw_start(self, dice: Random) -> Command:
        """A call of a model."""
        body = {"provider_name": "p", "request_model": "m", "input_messages": [{"role": "user"}]}
        return self.command(dice, "start", list(ROBOTS), self.mostly(dice, list(self.world.requests)), body)

    def draw_end(self, dice: Random) -> Command:
        """The end of one."""
        about = self.mostly(dice, list(self.world.calls))
        if dice.randrange(3) == 0:
            return self.command(dice, "fault", list(ROBOTS), about, {"error_type": "timeout"})
        return self.command(dice, "complete", list(ROBOTS), about, {"output_messages": ["done"]})

    def portfolio(self, dice: Random, request: Request | None) -> dict[str, Any]:
        """All in one thing; mostly of the amount that was asked about, as the strict schema has it."""
        amount = request.amount if request and dice.randrange(3) > 0 else "0.01"
        return {"allocations": [{"asset": dice.choice(["cash", "bonds"]), "weight": "1.0", "amount_usd": amount}]}

    def draw_answer(self, dice: Random) -> Command:
        """An answer, on a call or not, in another's place or not, as the strict schema has it or not."""
        about = self.mostly(dice, list(self.world.requests))
        request = self.world.requests.get(about)
        body: dict[str, Any] = {"recommendation": self.portfolio(dice, request), "model_name": "m"}
        calls = [call.id for call in self.world.calls.values() if call.request_id == about]
        if dice.randrange(2) == 0:
            body["model_call_id"] = self.mostly(dice, calls)
        if dice.randrange(2) == 0:
            body["supersedes"] = self.mostly(dice, request.recommendations[-1:] * 3 if request else [])
        return self.command(dice, "answer", list(ROBOTS), about, body)

    def in_state(self, dice: Random, *states: str) -> int:
        """A recommendation, mostly one in one of these states where there is one."""
        fitting = [one.id for one in self.world.recommendations.values() if one.state in states]
        if fitting and dice.randrange(4) > 0:
            return dice.choice(fitting)
        return self.mostly(dice, list(self.world.recommendations))

    def draw_fail(self, dice: Random) -> Command:
        """An agent gives up."""
        about = self.mostly(dice, list(self.world.requests))
        return self.command(dice, "fail", list(ROBOTS), about, {"reason": "no-answer"})

    def draw_claim(self, dice: Random) -> Command:
        """An agent claims a request."""
        about = self.mostly(dice, list(self.world.requests))
        return self.command(dice, "claim", list(ROBOTS), about, {"lease_s": 3600})

    def digest(self, dice: Random, about: int) -> str:
        """Draw the digest of the current or waiting content; seldom another."""
        found = self.world.recommendations.get(about)
        if found is None or dice.randrange(16) == 0:
            return ELSEWHERE
        now = str(self.world.facts(found)["digest"])
        return dice.choice([found.digest, now, now])

    def draw_open(self, dice: Random) -> Command:
        """A person opens a recommendation."""
        about = self.mostly(dice, list(self.world.recommendations))
        return self.command(dice, "open", list(PEOPLE)[:4], about, {"digest": self.digest(dice, about)})

    def draw_decide(self, dice: Random) -> Command:
        """A decision; at times with members that do not go with it."""
        about = self.in_state(dice, "proposed")
        outcome = dice.choice(["approve", "edit", "edit", "reject", "respond"])
        body: dict[str, Any] = {"digest": self.digest(dice, about), "outcome": outcome}
        found = self.world.recommendations.get(about)
        request = self.world.requests[found.request_id] if found else None
        if outcome in {"edit", "reject"}:
            body |= {"reason_code": dice.choice(REASONS), "rationale": "why"}
        if outcome == "edit":
            body["replacement"] = self.portfolio(dice, request)
        if outcome == "respond" or dice.randrange(16) == 0:
            body["response"] = "look again"
        return self.command(dice, "decide", ["ann", "abe"], about, body)

    def draw_confirm(self, dice: Random) -> Command:
        """Another person confirms."""
        about = self.in_state(dice, "waiting")
        found = self.world.recommendations.get(about)
        decision = found.decision.id if found and found.decision else UNKNOWN
        decision_id = dice.choice([decision, decision, decision, self.mostly(dice, list(self.world.decisions))])
        body = {"digest": self.digest(dice, about), "outcome": dice.choice(["approve", "approve", "decline"])}
        if dice.randrange(8) > 0:
            body["rationale"] = "so it is"
        return self.command(dice, "confirm", ["abe", "ann", "cara", "carl"], decision_id, body)

    def draw_communicate(self, dice: Random) -> Command:
        """The client is told."""
        about = self.in_state(dice, "approved", "edited")
        body = {"digest": self.digest(dice, about), "channel": "letter", "message": "dear"}
        return self.command(dice, "communicate", ["ann", "abe"], about, body)

    def why(self, dice: Random) -> dict[str, Any]:
        """Draw a reason to take something back; at times without the words that it needs."""
        words = {} if dice.randrange(8) == 0 else {"rationale": "a slip"}
        return {"reason_code": dice.choice(["data-entry-error", "other"]), **words}

    def draw_withdraw_request(self, dice: Random) -> Command:
        """A request is withdrawn, perhaps for another one."""
        body = self.why(dice)
        if dice.randrange(3) == 0:
            body["replaced_by"] = self.mostly(dice, list(self.world.requests))
        about = self.mostly(dice, list(self.world.requests))
        return self.command(dice, "withdraw_request", ["ann", "cara"], about, body)

    def about_decision(self, dice: Random, *states: str) -> int:
        """A decision, mostly that of a recommendation in one of these states."""
        found = self.world.recommendations.get(self.in_state(dice, *states))
        decision = found.decision.id if found and found.decision else UNKNOWN
        return dice.choice([decision, decision, decision, self.mostly(dice, list(self.world.decisions))])

    def draw_withdraw(self, dice: Random) -> Command:
        """A decision that waits is taken back."""
        return self.command(dice, "withdraw", ["ann", "abe"], self.about_decision(dice, "waiting"), self.why(dice))

    def draw_revoke(self, dice: Random) -> Command:
        """A decision in force is taken back."""
        about = self.about_decision(dice, "approved", "edited", "rejected")
        return self.command(dice, "revoke", ["ann", "abe", "cara"], about, self.why(dice))

    def draw_stop(self, dice: Random) -> Command:
        """Something about an agent."""
        kind = dice.choice(["suspend", "resume", "resume", "register"])
        about = self.prefix + dice.choice(list(ROBOTS))
        if kind == "register":
            schema = dice.choice(["any/v1", "allocations/v1", "allocations/v9"])
            return self.command(dice, kind, ["adam"], about, {"answer_schema": schema})
        return self.command(dice, kind, ["cara", "adam"], about, {"reason": "because"})

    def any_command(self, dice: Random) -> Command:
        """Draw a command of any kind; at times one that was sent before."""
        if self.sent and dice.randrange(10) == 0:
            return dice.choice(self.sent)
        name = dice.choice(
            [*["start", "claim", "end", "end", "answer", "answer", "answer", "answer", "stop", "open"], *self.likely()]
        )
        if dice.randrange(40) == 0:
            name = dice.choice(["fail", "withdraw_request"])  # which end a request, so they come up seldom
        found: Command = getattr(self, f"draw_{name}")(dice)
        return found

    def likely(self) -> list[str]:
        """Draw a command of a person, more often if a recommendation is in the state for it."""
        states = {one.state for one in self.world.recommendations.values()}
        fitting = [kind for kind, wanted in FITTING.items() if states & wanted]
        back = [kind for kind, wanted in TAKING_BACK.items() if states & wanted]
        return ["decide", "confirm", "communicate", *fitting * 4, *back]

    def fitting(self, dice: Random, draw: Callable[[Random], Command]) -> Command:
        """Mostly a command that the model would take now, where some are drawn that it would not."""
        found = draw(dice)
        for _ in range(dice.choice([0, 8, 8])):
            if self.world.copy().send(found, Learned())[0] < 300:
                break
            found = draw(dice)
        return found

    # Sending

    def post(self, command: Command) -> httpx.Response:
        """The server's answer."""
        headers = {"Authorization": f"Bearer {self.tokens[command.by.removeprefix(self.prefix)]}"}
        if command.key:
            headers["Idempotency-Key"] = command.key
        return self.api.client.post(self.api.base + command.path, json=command.body, headers=headers)

    def learned(self, command: Command, response: httpx.Response) -> Learned:
        """Return what the answer tells, and read the digest of a new recommendation."""
        if response.status_code >= 400:
            return Learned()
        position, found = int(response.headers.get("ledger-position", 0)), response.json()
        digest = found.get("digest", "")
        if command.kind == "answer":
            read = self.api.get(f"/recommendations/{position}", as_of=position)
            assert read.status_code == 200, read.text
            digest = read.json()["digest"]
        return Learned(position, digest, found.get("request_id", 0))

    def agrees(self, expected: tuple[Any, ...], response: httpx.Response) -> bool:
        """Check that the answer is the one that the model expects."""
        found = response.json()
        if response.status_code != expected[0]:
            return False
        if response.status_code >= 400:
            assert response.headers["content-type"] == PROBLEM_JSON
            return found["type"].removeprefix("/problems/") in expected[1].split("|")
        return int(response.headers.get("ledger-position", 0)) == expected[1] and (
            expected[2] is None or {name: found[name] for name in expected[2]} == expected[2]
        )

    def send(self, *commands: Command) -> None:
        """All at the same moment. The answers are those of the model for some order, which is that of positions."""
        before, count = self.head(), self.api.commands()
        self.sent += commands
        responses = list(self.pool.map(self.post, commands)) if len(commands) > 1 else [self.post(commands[0])]
        learned = [self.learned(*one) for one in zip(commands, responses, strict=True)]
        for order in itertools.permutations(range(len(commands))):
            new_at = [learned[at].position for at in order if learned[at].position > before]
            if new_at != sorted(new_at):
                continue  # what is recorded has its order
            world = self.world.copy()
            if all(self.agrees(world.send(commands[at], learned[at]), responses[at]) for at in order):
                self.world = world
                # The request that registers the client does so one position earlier.
                assert self.api.commands() == count + len(set(new_at)) + (not self.registered)
                self.registered = True
                return
        expected = [self.world.copy().send(*one) for one in zip(commands, learned, strict=True)]
        raise AssertionError(f"no order of {commands} gives {[one.text for one in responses]}: alone {expected}")

    @initialize(dice=DICE)
    def begin(self, dice: Random) -> None:
        """A request with an answer, as most commands are about one."""
        ask = {"client_id": f"{self.prefix}client", "risk_profile": "balanced"}
        amount = dice.choice(["1000.00", LARGE])
        self.send(Command("ask", self.prefix + "ann", "advisor", "", {**ask, "amount_usd": amount}))
        for robot in dice.choice([[], ["r1"], ["r2"], ["r1", "r2"]]):
            strict = {"answer_schema": "allocations/v1"}
            self.send(Command("register", self.prefix + "adam", "admin", self.prefix + robot, strict))
        request = next(iter(self.world.requests.values()))
        whole = {"asset": "cash", "weight": "1.0", "amount_usd": request.amount}
        answer = {"recommendation": {"allocations": [whole]}, "model_name": "m"}
        self.send(Command("answer", self.prefix + "r1", "agent", request.id, answer))

    @rule(dice=DICE)
    def ask(self, dice: Random) -> None:
        """Another request, while there are few."""
        self.send(self.draw_ask(dice) if len(self.world.requests) < 3 else self.any_command(dice))

    @rule(dice=DICE)
    def one(self, dice: Random) -> None:
        """One command."""
        self.send(self.any_command(dice))

    @rule(dice=DICE)
    def one_that_fits(self, dice: Random) -> None:
        """One command that fits."""
        self.send(self.fitting(dice, self.any_command))

    @rule(dice=DICE)
    def people(self, dice: Random) -> None:
        """Something that people do, to what is in the state for it; by whom it may be, or not."""
        self.send(getattr(self, f"draw_{dice.choice(self.likely())}")(dice))

    @rule(dice=DICE, count=st.integers(2, 3))
    def at_once(self, dice: Random, count: int) -> None:
        """Two or three commands at the same moment, each of which would be taken alone: of any kinds, or of one."""
        draw = getattr(self, f"draw_{dice.choice(self.likely())}") if dice.randrange(2) else self.any_command
        commands = [self.fitting(dice, draw) for _ in range(count)]
        # A claim is looked at before an append and not in it, so beside other commands it has no place in their order.
        self.send(*([one for one in commands if one.kind != "claim"] or commands[:1]))

    @rule(dice=DICE)
    def the_very_same_at_once(self, dice: Random) -> None:
        """One command twice at the same moment."""
        command = self.fitting(dice, self.any_command)
        self.send(command, command)

    @rule()
    def look(self) -> None:
        """Remembers what is read now, to read it again as of this position."""
        self.seen.append((self.head(), self.read()))

    @invariant()
    def reads_are_the_models(self) -> None:
        """The newest recommendation is in the model's state."""
        if self.world.recommendations:
            newest = list(self.world.recommendations.values())[-1]
            found = self.api.get(f"/recommendations/{newest.id}").json()
            assert (found["state"], found["digest"]) == (newest.state, newest.stands)

    # Reading

    def read(self, **how: Any) -> dict[str, Any]:
        """Everything of this example, by read model."""
        mine = {"client_id": f"{self.prefix}client", "limit": 200, **how}
        found = {path: self.api.items(path, **mine) for path in LISTS}
        agents = self.api.items("/agents", limit=200, **how)
        return {**found, "/agents": [one for one in agents if one["name"].startswith(self.prefix)]}

    def check_reads(self, found: dict[str, Any]) -> None:
        """Reads return what the model has."""
        world = self.world
        columns = ("id", "status", "recommendation_id", "requested_by", "withdrawn_by", "replaced_by")
        assert pick(found["/portfolio/requests"], *columns) == newest(
            {
                "id": one.id,
                "status": one.status,
                "recommendation_id": one.recommendations[-1] if one.recommendations else None,
                "requested_by": one.by,
                "withdrawn_by": one.withdrawn_by,
                "replaced_by": one.replaced_by,
            }
            for one in world.requests.values()
        )
        rows = newest(map(recommendation_row, world.recommendations.values()))
        assert pick(found["/recommendations"], *(rows[0] if rows else ())) == rows
        assert pick(
            found["/decisions"],
            "id",
            "recommendation_id",
            "state",
            "outcome",
            "decided_by",
            "needs_second",
            "confirmed_by",
            "confirmation",
            "ended_by",
            "earlier_declines",
        ) == newest(
            {
                "id": one.id,
                "recommendation_id": one.recommendation_id,
                "state": one.state,
                "outcome": one.outcome,
                "decided_by": one.by,
                "needs_second": one.needs_second,
                "confirmed_by": one.confirmed_by,
                "confirmation": one.confirmation,
                "ended_by": one.ended_by,
                "earlier_declines": one.earlier_declines,
            }
            for one in world.decisions.values()
        )
        assert pick(found["/model-calls"], "id", "request_id", "state", "agent", "recommendation_id") == newest(
            {
                "id": one.id,
                "request_id": one.request_id,
                "state": one.state,
                "agent": one.by,
                "recommendation_id": one.answered,
            }
            for one in world.calls.values()
        )
        agents = {one["name"]: (one["suspended"], one["answer_schema"]) for one in found["/agents"]}
        told = {name: found for name, found in agents.items() if name in world.agents}
        assert told == {name: (agent.suspended, agent.schema) for name, agent in world.agents.items()}

    def teardown(self) -> None:
        """Live, rebuilt and as of earlier positions, it is all the same; the chain verifies."""
        with self.conn:
            live = self.read()
            self.check_reads(live)
            for position, seen in self.seen:
                assert self.read(as_of=position) == seen, position
            assert self.read(as_of=self.head()) == live
            assert all(one.differing == 0 for one in rebuild_read_models(self.api.url, list(all_models())))
            assert self.read() == live
        check_ledger(self.api.url)


ROBOTICS = ["start", "end", "end", *["answer"] * 4, "stop", "open"]
FITTING = {
    "decide": {"proposed"},
    "confirm": {"waiting"},
    "communicate": {"approved", "edited"},
}
TAKING_BACK = {"withdraw": {"waiting"}, "revoke": {"approved", "edited", "rejected"}}
LISTS = ("/portfolio/requests", "/recommendations", "/decisions", "/model-calls")


def newest(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """In the order of lists."""
    return sorted(rows, key=lambda row: -int(row["id"]))


def pick(rows: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    """Only these members."""
    return [{name: row[name] for name in names} for row in rows]


def recommendation_row(one: Recommendation) -> dict[str, Any]:
    """Return the row of its read model."""
    decision = one.decision
    return {
        "id": one.id,
        "request_id": one.request_id,
        "state": one.state,
        "digest": one.stands,
        "recommendation": one.answer,
        "agent": one.by,
        "model_call_id": one.model_call_id,
        "supersedes": one.supersedes,
        "superseded_by": one.superseded_by,
        "opened_by": one.opened_by,
        "communicated_by": one.communicated_by,
        "decision_id": decision and decision.id,
        "outcome": decision and decision.outcome,
        "decided_by": decision and decision.by,
        "needs_second": decision and decision.needs_second,
        "confirmed_by": decision and decision.confirmed_by,
        "declines": len(one.declined_by),
        "declined_by": one.declined_by[-1] if one.declined_by else None,
    }


@pytest.fixture(scope="module")
def api(server_url: str, template_database: Template) -> Iterator[Api]:
    """The application on a ledger that all examples share; the policies are adopted."""
    with ledger_copy(server_url, template_database) as url, served(url) as found:
        made = found.answered(found.asked())
        body = {"digest": found.get(f"/recommendations/{made}").json()["digest"], "outcome": "approve"}
        assert found.call("POST", f"/recommendations/{made}/decisions", json=body).status_code == 201
        yield found


def run(api: Api, examples: int, steps: int) -> None:
    """Run `examples` examples of at most `steps` steps."""
    profile = settings(
        max_examples=examples, stateful_step_count=steps, suppress_health_check=list(HealthCheck), deadline=None
    )
    with ThreadPoolExecutor(3) as pool:
        run_state_machine_as_test(type("PipelineAt", (Pipeline,), {"api": api, "pool": pool}), settings=profile)


def test_the_pipeline_does_what_the_model_says(api: Api) -> None:
    """For any sequence of commands: answers, refusals that record nothing, and states are the model's."""
    run(api, 10, 25)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_pipeline_does_what_the_model_says_for_longer(api: Api) -> None:
    """The same, with many more and longer examples."""
    run(api, 60, 40)
