"""One client's quarter, from the request to what the client is told, all of it through the HTTP API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from advice_ledger_client import Decided, LedgerClient, RecommendationAfter, RequestFailed

from api.agents.protocol import Agent, AgentRefused
from api.demo import remote, rules
from api.demo.clients import Client
from api.demo.market import Quarter
from api.demo.server import COMPLIANCE, HOUSE, OPTIMISER

# Of the requests for the coming quarter one in so many excludes stocks, which the optimiser refuses.
EXCLUDES_EVERY = 12
ANSWER_S = 120.0


@dataclass(frozen=True)
class Outcome:
    """What became of a client's quarter: how often each thing was done.

    `position` is that of the last event, and `story` has those of the decisions.
    """

    request_id: int
    position: int
    done: Counter[str]
    story: tuple[int, ...]


def coming(people: Mapping[str, LedgerClient], client: Client, number: int) -> Outcome:
    """A request for the quarter after the last, which the worker of a server answers, or fails."""
    excludes = int(client.name.rpartition("-")[2]) % EXCLUDES_EVERY == 1
    advisor = people[client.advisor]
    asked = advisor.request_recommendation(
        client_id=client.name,
        risk_profile=client.profile,
        amount_usd=client.amount_usd(number),
        horizon_years=client.horizon_years,
        objectives=["Review of the coming quarter"],
        constraints={**(client.constraints or {}), "exclude_asset_classes": ["us_equity"]} if excludes else None,
        notes="Demo: prices are known up to the end of the data.",
    )
    try:
        found = advisor.wait_for_recommendation(asked.request_id, within_s=ANSWER_S)
    except RequestFailed as failure:
        done = Counter({"requests": 1, "calls_failed": 1, "failed": 1, f"refused:{failure.reason}": 1})
        return Outcome(asked.request_id, asked.receipt.position, done, ())
    done = Counter({"requests": 1, "calls_completed": 1, "recommendations": 1})
    return Outcome(asked.request_id, found["id"], done, ())


@dataclass
class Review:
    """One client in one quarter. `last`: the last, where no second person has looked yet."""

    people: Mapping[str, LedgerClient]
    client: Client
    quarter: Quarter
    number: int
    seed: str
    last: bool = False

    def __post_init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.story: list[int] = []
        self.position = 0
        self.amount_usd = self.client.amount_usd(self.number)
        self.advisor = self.people[self.client.advisor]
        self.chance: Random = rules.chance_of(self.seed, self.client, self.quarter)

    def run(self) -> Outcome:
        """Does it all; raises what the client library raises."""
        request_id = self._ask()
        self._decide(request_id, self.advisor.recommendation(self._answer(request_id)))
        return Outcome(request_id, self.position, self.done, tuple(self.story))

    def _ask(self) -> int:
        client, quarter = self.client, self.quarter
        constraints = dict(client.constraints or {})
        if self.chance.random() < rules.STOCKS_EXCLUDED:
            constraints["exclude_asset_classes"] = ["us_equity"]
        asked = self.advisor.request_recommendation(
            client_id=client.name,
            risk_profile=client.profile,
            amount_usd=self.amount_usd,
            horizon_years=client.horizon_years,
            objectives=[f"Review of {quarter.name}"],
            constraints=constraints or None,
            notes=f"Demo: prices are known up to {quarter.known}, and the quarter ends on {quarter.last}.",
        )
        self._did("requests")
        return asked.request_id

    def _answer(self, request_id: int, *, newest: bool = False, supersedes: int | None = None) -> int:
        """The answer of the client's agent, or of the house's where that one will not. `newest`: on newer prices."""
        if self.client.agent == "optimiser":
            agent = remote.optimiser(self.quarter.last if newest else self.quarter.known)
            if (found := self._answered(OPTIMISER, agent, request_id, supersedes)) is not None:
                return found
        found = self._answered(HOUSE, remote.house(), request_id, supersedes)
        assert found is not None, "the demo asks nothing that the built-in agent refuses"
        return found

    def _answered(self, name: str, agent: Agent, request_id: int, supersedes: int | None) -> int | None:
        said = remote.answer(self.people[name], agent, request_id, supersedes=supersedes)
        if isinstance(said, AgentRefused):
            self._did("calls_failed", f"refused:{said.reason}")
            return None
        self._did("calls_completed", "recommendations")
        self.position = said.receipt.position
        return said.recommendation_id

    def _decide(self, request_id: int, found: dict[str, Any]) -> None:
        judgement = rules.judge(self.client, self.quarter, self.amount_usd, found["recommendation"], self.chance)
        decided = self._send(found, judgement)
        if judgement.outcome == "respond":
            self._again(request_id)
        elif judgement.members.get("reason_code") == "market-event" and self.client.agent == "optimiser":
            self._again(request_id, newest=True, supersedes=found["id"])
        elif judgement.outcome != "reject":
            self._finish(found, decided)

    def _again(self, request_id: int, *, newest: bool = False, supersedes: int | None = None) -> None:
        """A second answer, which is approved, unless it breaks the house's rule."""
        found = self.advisor.recommendation(self._answer(request_id, newest=newest, supersedes=supersedes))
        judgement = rules.concentration(found["recommendation"], self.amount_usd) or rules.APPROVE
        self._finish(found, self._send(found, judgement))

    def _send(self, found: dict[str, Any], judgement: rules.Judgement) -> Decided:
        # The one in the south sometimes approves what they did not open: the report on rubber stamps shows it.
        careless = judgement.outcome == "approve" and self.client.advisor.endswith("south")
        if not (careless and self.chance.random() < rules.UNOPENED):
            self.advisor.open(found["id"], found["digest"])
            self._did("opened")
        decided = self.advisor.decide(
            found["id"], digest=found["digest"], outcome=judgement.outcome, **judgement.members
        )
        self._did(judgement.outcome)
        self.position = decided.receipt.position
        self.story.append(self.position)
        return decided

    def _finish(self, found: dict[str, Any], decided: Decided) -> None:
        """The second person, where one is needed, and then the client is told."""
        standing: RecommendationAfter | None = decided
        if decided.needs_second:
            self._did("needs_second")
            standing = None if self.last else self._confirm(found, decided)
        if standing is None:
            return
        told = self.advisor.communicate(found["id"], digest=standing.digest, channel=self.chance.choice(rules.CHANNELS))
        self._did("communicated")
        self.position = told.receipt.position

    def _confirm(self, found: dict[str, Any], decided: Decided) -> RecommendationAfter | None:
        """What stands when compliance approves; None when it declines, which the advisor then rejects."""
        second = self.people[COMPLIANCE]
        declined = self.chance.random() < rules.DECLINED
        second.open(found["id"], found["digest"])
        self._did("opened")
        said = second.confirm(
            decided.decision_id,
            digest=decided.digest,
            outcome="decline" if declined else "approve",
            rationale="Not without a talk with the client first." if declined else None,
        )
        self.position = said.receipt.position
        if not declined:
            self._did("confirmed")
            return said
        self._did("declined")
        self._send(found, rules.AFTER_DECLINE)
        return None

    def _did(self, *things: str) -> None:
        self.done.update(things)
