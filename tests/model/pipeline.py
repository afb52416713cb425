"""The advice pipeline in plain Python: what each command is answered with, and where everything stands after it.

Written from docs and the tables of the issue, and not from ledger/domain: it shares no code with them.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

ROLES = {
    "answer": {"agent"},
    "start": {"agent"},
    "complete": {"agent"},
    "fault": {"agent"},
    "fail": {"agent"},
    "claim": {"agent"},
    "ask": {"advisor"},
    "open": {"advisor", "compliance"},
    "decide": {"advisor"},
    "confirm": {"advisor", "compliance"},
    "communicate": {"advisor"},
    "withdraw_request": {"advisor", "compliance"},
    "withdraw": {"advisor"},
    "revoke": {"advisor", "compliance"},
    "register": {"admin"},
    "suspend": {"advisor", "compliance", "admin"},
    "resume": {"compliance", "admin"},
}
LARGE = "1000000.00"
SENSITIVE = {"other", "model-unsuitable", "model-ignored-constraint"}
NEEDS = {
    "approve": (set(), {"rationale"}),
    "edit": ({"replacement", "reason_code", "rationale"}, set()),
    "reject": ({"reason_code", "rationale"}, set()),
    "respond": ({"response"}, {"reason_code", "rationale"}),
}
AFTER = {"approve": "approved", "edit": "edited", "reject": "rejected", "respond": "returned"}


class Say(Exception):
    """The answer is this problem, or one of several: `a|b`."""

    def __init__(self, status: int, slug: str) -> None:
        super().__init__(slug)
        self.answer = (status, slug)


@dataclass(frozen=True)
class Command:
    """Something that somebody sends. `about` is the id in the path: of a request, call or recommendation, or a name."""

    kind: str
    by: str
    role: str
    about: int | str
    body: Any
    key: str | None = None

    @property
    def path(self) -> str:
        """Where it is sent."""
        return {
            "ask": "/portfolio/recommendations",
            "answer": f"/portfolio/requests/{self.about}/recommendations",
            "fail": f"/portfolio/requests/{self.about}/failures",
            "claim": f"/assignments/{self.about}/claim",
            "start": f"/portfolio/requests/{self.about}/model-calls",
            "complete": f"/model-calls/{self.about}/completion",
            "fault": f"/model-calls/{self.about}/failure",
            "open": f"/recommendations/{self.about}/openings",
            "decide": f"/recommendations/{self.about}/decisions",
            "confirm": f"/decisions/{self.about}/confirmations",
            "communicate": f"/recommendations/{self.about}/communications",
            "withdraw_request": f"/portfolio/requests/{self.about}/withdrawals",
            "withdraw": f"/decisions/{self.about}/withdrawals",
            "revoke": f"/decisions/{self.about}/revocations",
            "register": f"/agents/{self.about}/registrations",
            "suspend": f"/agents/{self.about}/suspensions",
            "resume": f"/agents/{self.about}/resumptions",
        }[self.kind]

    @property
    def same(self) -> tuple[Any, ...]:
        """The parts that must be equal for a key to be used again."""
        return self.kind, self.about, self.body

    def repeats(self, earlier: Command) -> bool:
        """Whether it counts as the same command sent again. The ledger adds `supersedes` to an answer without it."""
        derived = {"supersedes"} - self.body.keys()
        body = {name: value for name, value in earlier.body.items() if name not in derived}
        return self.same == (earlier.kind, earlier.about, body)


@dataclass
class Call:
    """A model call."""

    id: int
    request_id: int
    by: str
    state: str = "open"
    answered: int | None = None


@dataclass
class Decision:
    """A decision: `result` is the digest that there is to confirm, or that stands once it takes effect."""

    id: int
    recommendation_id: int
    by: str
    outcome: str
    needs_second: bool
    result: str
    state: str
    confirmed_by: str | None = None
    confirmation: str | None = None
    ended_by: str | None = None
    earlier_declines: int = 0


@dataclass
class Recommendation:
    """A recommendation; `decision` is the one that waits or is in force."""

    id: int
    request_id: int
    by: str
    digest: str
    answer: Any
    supersedes: int | None
    model_call_id: int | None
    state: str = "proposed"
    decision: Decision | None = None
    superseded_by: int | None = None
    communicated_by: str | None = None
    opened_by: str | None = None
    declined_by: list[str] = field(default_factory=list)

    @property
    def stands(self) -> str:
        """The digest of the answer, or of the edit that took effect."""
        done = self.decision is not None and self.decision.state == "effective"
        return self.decision.result if done and self.decision else self.digest


@dataclass
class Request:
    """A request; its recommendations in order."""

    id: int
    by: str
    amount: str
    status: str = "queued"
    recommendations: list[int] = field(default_factory=list)
    withdrawn_by: str | None = None
    replaced_by: int | None = None


@dataclass
class Agent:
    """The state of an agent."""

    suspended: bool = False
    schema: str | None = None


@dataclass
class World:
    """Everything, and what each used key was used for, with the position that came of it."""

    requests: dict[int, Request] = field(default_factory=dict)
    calls: dict[int, Call] = field(default_factory=dict)
    recommendations: dict[int, Recommendation] = field(default_factory=dict)
    decisions: dict[int, Decision] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[Command, int]] = field(default_factory=dict)
    # By request, who claimed it and after which recommendation. No lease ends while an example runs.
    claims: dict[int, tuple[str, int]] = field(default_factory=dict)

    def copy(self) -> World:
        """One to try things on."""
        return deepcopy(self)

    def send(self, command: Command, learned: Learned) -> tuple[Any, ...]:
        """(status, slug) of a refusal, or (status, position, facts); of what is recorded, only then are ids learned."""
        try:
            return self._send(command, learned)
        except Say as said:
            return said.answer

    def _send(self, command: Command, learned: Learned) -> tuple[Any, ...]:
        if command.role not in ROLES[command.kind]:
            # A suspension is refused first, as soon as the server has seen it, which takes up to a second.
            raise Say(403, "wrong-role|suspended" if self.agent(command.by).suspended else "wrong-role")
        self._check_path(command)
        self._check_shape(command)
        if command.kind == "claim":  # which records nothing, and knows no keys
            self._claim(command)
            return (200, 0, None)
        used = self.keys.get((command.by, command.key)) if command.key else None
        if used is not None:
            if not command.repeats(used[0]):
                raise Say(409, "idempotency-key-reused")
            return (202 if command.kind == "ask" else 201, used[1], None)
        facts = getattr(self, f"_{command.kind}")(command, learned)
        if command.key:
            self.keys[command.by, command.key] = (command, learned.position)
        return (202 if command.kind == "ask" else 201, learned.position, facts)

    def _check_path(self, command: Command) -> None:
        if command.kind in {"complete", "fault"} and command.about not in self.calls:
            raise Say(404, "model-call-unknown")
        if command.kind in {"open", "decide", "communicate"} and command.about not in self.recommendations:
            raise Say(404, "recommendation-unknown")
        if command.kind in {"confirm", "withdraw", "revoke"} and command.about not in self.decisions:
            raise Say(404, "decision-unknown")

    def _check_shape(self, command: Command) -> None:
        """A body that lacks a required member is refused before its key is looked up."""
        if command.kind == "revoke" and "rationale" not in command.body:
            raise Say(422, "invalid")

    # Commands of agents

    def _ask(self, command: Command, learned: Learned) -> None:
        self.requests[learned.number] = Request(learned.number, command.by, command.body["amount_usd"])

    def _open_request(self, command: Command) -> Request:
        request = self.requests.get(int(command.about))
        if request is None:
            raise Say(404, "request-unknown")
        if self.agent(command.by).suspended:
            raise Say(409, "agent-suspended")
        if request.status == "failed":
            raise Say(409, "request-failed")
        if request.status == "withdrawn":
            raise Say(409, "request-withdrawn")
        return request

    def _claim(self, command: Command) -> None:
        request = self._open_request(command)
        if request.status != "queued":
            raise Say(409, "request-finished")
        self._check_free(request, command.by)
        self.claims[request.id] = (command.by, (request.recommendations or [0])[-1])

    def _holder(self, request: Request) -> str | None:
        by, after = self.claims.get(request.id, (None, 0))
        return by if after == (request.recommendations or [0])[-1] else None

    def _check_free(self, request: Request, by: str) -> None:
        if request.status == "queued" and self._holder(request) not in {None, by}:
            raise Say(409, "claimed-by-another")

    def _start(self, command: Command, learned: Learned) -> None:
        request = self._open_request(command)
        current = self.recommendations[request.recommendations[-1]] if request.status == "recommended" else None
        if current is not None and current.state not in {"rejected", "communicated"}:
            raise Say(409, "request-finished")
        self._check_free(request, command.by)
        self.calls[learned.position] = Call(learned.position, request.id, command.by)

    def _end(self, command: Command, state: str) -> None:
        call = self.calls[int(command.about)]
        if call.by != command.by:
            raise Say(409, "model-call-of-another")
        if call.state != "open":
            raise Say(409, "model-call-ended")
        call.state = state

    def _complete(self, command: Command, _learned: Learned) -> None:
        self._end(command, "completed")

    def _fault(self, command: Command, _learned: Learned) -> None:
        self._end(command, "failed")

    def _answer(self, command: Command, learned: Learned) -> None:
        request = self._open_request(command)
        before = self._place_of(request, command.body.get("supersedes"))
        call = self._call_of(request, command)
        self._check_schema(command.by, request, command.body["recommendation"])
        self._check_free(request, command.by)
        new = Recommendation(
            learned.position,
            request.id,
            command.by,
            learned.digest,
            command.body["recommendation"],
            None if before is None else before.id,
            None if call is None else call.id,
        )
        if before is not None:
            before.state, before.superseded_by = "superseded", new.id
        if call is not None:
            call.answered = new.id
        self.recommendations[new.id] = new
        request.recommendations.append(new.id)
        request.status = "recommended"

    def _place_of(self, request: Request, named: int | None) -> Recommendation | None:
        if not request.recommendations:
            if named is not None:
                raise Say(422, "invalid")
            return None
        current = self.recommendations[request.recommendations[-1]]
        if named is not None and named != current.id:
            raise Say(409, "recommendation-superseded")
        if current.state == "returned" or (named is not None and current.state in {"rejected", "communicated"}):
            return current
        raise Say(409, "request-finished")

    def _call_of(self, request: Request, command: Command) -> Call | None:
        named = command.body.get("model_call_id")
        if named is None:
            return None
        call = self.calls.get(named)
        if call is None or (call.request_id, call.by, call.state) != (request.id, command.by, "completed"):
            raise Say(422, "invalid")
        if call.answered is not None:
            raise Say(422, "invalid")
        return call

    def agent(self, name: str) -> Agent:
        """An agent that nobody spoke of runs."""
        return self.agents.get(name, Agent())

    def _register(self, command: Command, _learned: Learned) -> None:
        if command.body["answer_schema"] not in {"any/v1", "allocations/v1"}:
            raise Say(422, "invalid")
        self.agents.setdefault(str(command.about), Agent()).schema = command.body["answer_schema"]

    def _suspend(self, command: Command, _learned: Learned) -> None:
        if self.agent(str(command.about)).suspended:
            raise Say(409, "subject-suspended")
        self.agents.setdefault(str(command.about), Agent()).suspended = True

    def _resume(self, command: Command, _learned: Learned) -> None:
        if not self.agent(str(command.about)).suspended:
            raise Say(409, "subject-not-suspended")
        self.agents[str(command.about)].suspended = False

    def _fail(self, command: Command, _learned: Learned) -> None:
        request = self._open_request(command)
        if request.status != "queued":
            raise Say(409, "request-finished")
        self._check_free(request, command.by)
        if self._holder(request) is None:
            raise Say(409, "not-claimed")
        request.status = "failed"

    def _check_schema(self, agent: str, request: Request, portfolio: Any) -> None:
        """Portfolios here are one allocation of the whole weight, of the amount asked about or of another."""
        [one] = portfolio["allocations"]
        if self.agent(agent).schema == "allocations/v1" and one["amount_usd"] != request.amount:
            raise Say(422, "answer-off-schema")

    # Commands of people

    def _current(self, recommendation_id: int | str) -> Recommendation:
        found = self.recommendations[int(recommendation_id)]
        if found.state == "superseded":
            raise Say(409, "recommendation-superseded")
        return found

    def _live(self, recommendation_id: int | str) -> Recommendation:
        found = self._current(recommendation_id)
        if found.state == "withdrawn":
            raise Say(409, "request-withdrawn")
        return found

    def _open(self, command: Command, _learned: Learned) -> dict[str, Any]:
        current = self._current(command.about)
        waits = current.decision.result if current.state == "waiting" and current.decision else None
        if command.body["digest"] not in {current.stands, waits}:
            raise Say(409, "digest-mismatch")
        current.opened_by = current.opened_by or command.by
        return self.facts(current)

    def _decide(self, command: Command, learned: Learned) -> dict[str, Any]:
        said = command.body
        given = said.keys() - {"digest", "outcome"}
        needed, allowed = NEEDS[said["outcome"]]
        if needed - given or given - needed - allowed or said.get("reason_code") == "nonsense":
            raise Say(422, "invalid")
        current = self._live(command.about)
        if current.state != "proposed":
            raise Say(409, "recommendation-waiting" if current.state == "waiting" else "recommendation-decided")
        if said["digest"] != current.digest:
            raise Say(409, "digest-mismatch")
        if said["outcome"] == "edit":
            if said["replacement"] == current.answer:
                raise Say(422, "invalid")
            self._check_schema(current.by, self.requests[current.request_id], said["replacement"])
        rules = self._rules(current, said)
        result = learned.digest if said["outcome"] == "edit" else current.digest
        state = "waiting" if rules else "effective"
        made = Decision(learned.position, current.id, command.by, said["outcome"], bool(rules), result, state)
        made.earlier_declines = len(current.declined_by)
        self.decisions[made.id] = current.decision = made
        current.state = "waiting" if rules else AFTER[made.outcome]
        if current.state == "returned":
            self.requests[current.request_id].status = "queued"
        return {**self.facts(current), "needs_second": bool(rules), "second_rules": rules, "decision_id": made.id}

    def _rules(self, current: Recommendation, said: dict[str, Any]) -> list[str]:
        """Return the rules of the packaged policy that apply. A replacement moves all the money, or another sum."""
        outcome = said["outcome"]
        found = []
        if outcome in {"approve", "edit"} and self.requests[current.request_id].amount == LARGE:
            found.append("large-amount")
        if outcome == "edit" and said["replacement"] != current.answer:
            found.append("large-change")
        if outcome in {"edit", "reject"} and said["reason_code"] in SENSITIVE:
            found.append("sensitive-reason")
        return found

    def _confirm(self, command: Command, _learned: Learned) -> dict[str, Any]:
        if command.body["outcome"] == "decline" and "rationale" not in command.body:
            raise Say(422, "invalid")
        current = self._live(self.decisions[int(command.about)].recommendation_id)
        waiting = current.decision
        if current.state != "waiting" or waiting is None or waiting.id != command.about:
            raise Say(409, "nothing-to-confirm")
        if waiting.by == command.by:
            raise Say(409, "same-person")
        if command.body["digest"] != waiting.result:
            raise Say(409, "digest-mismatch")
        waiting.confirmed_by, waiting.confirmation = command.by, command.body["outcome"]
        if waiting.confirmation == "decline":
            waiting.state, current.state, current.decision = "declined", "proposed", None
            current.declined_by.append(command.by)
        else:
            waiting.state, current.state = "effective", AFTER[waiting.outcome]
        return {**self.facts(current), "decision_id": waiting.id}

    def _withdraw_request(self, command: Command, _learned: Learned) -> None:
        self._check_why(command)
        request = self.requests.get(int(command.about))
        if request is None:
            raise Say(404, "request-unknown")
        if request.status in {"failed", "withdrawn"}:
            raise Say(409, f"request-{request.status}")
        current = self.recommendations[request.recommendations[-1]] if request.recommendations else None
        if current is not None and current.state == "communicated":
            raise Say(409, "recommendation-communicated")
        named = command.body.get("replaced_by")
        if named is not None and (
            named == request.id or named not in self.requests or self.requests[named].status == "withdrawn"
        ):
            raise Say(422, "invalid")
        request.status, request.withdrawn_by, request.replaced_by = "withdrawn", command.by, named
        if current is not None:
            if current.state == "waiting":
                self._end_decision(current, "withdrawn", command.by)
            current.state = "withdrawn"

    def _check_why(self, command: Command) -> None:
        if command.body["reason_code"] == "other" and "rationale" not in command.body:
            raise Say(422, "invalid")

    def _end_decision(self, current: Recommendation, state: str, by: str) -> None:
        assert current.decision is not None
        current.decision.state, current.decision.ended_by = state, by
        current.state, current.decision = "proposed", None

    def _withdraw(self, command: Command, _learned: Learned) -> dict[str, Any]:
        self._check_why(command)
        current = self._live(self.decisions[int(command.about)].recommendation_id)
        waiting = current.decision
        if current.state != "waiting" or waiting is None or waiting.id != command.about:
            raise Say(409, "nothing-to-withdraw")
        if waiting.by != command.by:
            raise Say(409, "decision-of-another")
        self._end_decision(current, "withdrawn", command.by)
        return {**self.facts(current), "decision_id": command.about}

    def _revoke(self, command: Command, _learned: Learned) -> dict[str, Any]:
        current = self._live(self.decisions[int(command.about)].recommendation_id)
        if current.state == "communicated":
            raise Say(409, "recommendation-communicated")
        found = current.decision
        if found is None or found.id != command.about or current.state not in {"approved", "edited", "rejected"}:
            raise Say(409, "nothing-to-revoke")
        self._end_decision(current, "revoked", command.by)
        return {**self.facts(current), "decision_id": command.about}

    def _communicate(self, command: Command, _learned: Learned) -> dict[str, Any]:
        current = self._live(command.about)
        if current.state == "communicated":
            raise Say(409, "recommendation-communicated")
        if current.state not in {"approved", "edited"}:
            raise Say(409, "not-approved")
        if command.body["digest"] != current.stands:
            raise Say(409, "digest-mismatch")
        current.state, current.communicated_by = "communicated", command.by
        return self.facts(current)

    def facts(self, current: Recommendation) -> dict[str, Any]:
        """Return the members of an answer about the recommendation."""
        waiting = current.state == "waiting" and current.decision
        digest = waiting.result if waiting else current.stands
        return {"recommendation_id": current.id, "state": current.state, "digest": digest}


@dataclass(frozen=True)
class Learned:
    """The facts that only the server knows: position, digest, the number of a request."""

    position: int = 0
    digest: str = ""
    number: int = 0
