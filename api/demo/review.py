"""Run one client's quarterly review, from the request to the communication, through the HTTP API."""

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

# Every twelfth request for the coming quarter excludes stocks, which the optimiser refuses.
EXCLUDES_EVERY = 12
ANSWER_S = 120.0


@dataclass(frozen=True)
class ReviewResult:
    """The result of a review: `done` counts each step.

    `position` is that of the last event; `decisions` has those of the decisions.
    """

    request_id: int
    position: int
    done: Counter[str]
    decisions: tuple[int, ...]


def review_next_quarter(people: Mapping[str, LedgerClient], client: Client, number: int) -> ReviewResult:
    """Request a recommendation for the quarter after the last, and wait until a worker answers or fails it."""
    excludes = int(client.name.rpartition("-")[2]) % EXCLUDES_EVERY == 1
    advisor = people[client.advisor]
    request = advisor.request_recommendation(
        client_id=client.name,
        risk_profile=client.profile,
        amount_usd=client.amount_usd(number),
        horizon_years=client.horizon_years,
        objectives=["Review of the coming quarter"],
        constraints={**(client.constraints or {}), "exclude_asset_classes": ["us_equity"]} if excludes else None,
        notes="Demo: prices are known up to the end of the data.",
    )
    try:
        recommendation = advisor.wait_for_recommendation(request.request_id, within_s=ANSWER_S)
    except RequestFailed as failure:
        done = Counter({"requests": 1, "calls_failed": 1, "failed": 1, f"refused:{failure.reason}": 1})
        return ReviewResult(request.request_id, request.receipt.position, done, ())
    done = Counter({"requests": 1, "calls_completed": 1, "recommendations": 1})
    return ReviewResult(request.request_id, recommendation["id"], done, ())


@dataclass
class Review:
    """The review of one client in one quarter. In the `last` one, confirmations are still outstanding."""

    people: Mapping[str, LedgerClient]
    client: Client
    quarter: Quarter
    number: int
    seed: str
    last: bool = False

    def __post_init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.decisions: list[int] = []
        self.position = 0
        self.amount_usd = self.client.amount_usd(self.number)
        self.advisor = self.people[self.client.advisor]
        self.chance: Random = rules.random_for(self.seed, self.client, self.quarter)

    def run(self) -> ReviewResult:
        """Run the review. Raises ClientError."""
        request_id = self._ask()
        self._decide(request_id, self.advisor.recommendation(self._answer(request_id)))
        return ReviewResult(request_id, self.position, self.done, tuple(self.decisions))

    def _ask(self) -> int:
        client, quarter = self.client, self.quarter
        constraints = dict(client.constraints or {})
        if self.chance.random() < rules.STOCKS_EXCLUDED:
            constraints["exclude_asset_classes"] = ["us_equity"]
        request = self.advisor.request_recommendation(
            client_id=client.name,
            risk_profile=client.profile,
            amount_usd=self.amount_usd,
            horizon_years=client.horizon_years,
            objectives=[f"Review of {quarter.name}"],
            constraints=constraints or None,
            notes=f"Demo: prices are known up to {quarter.known}, and the quarter ends on {quarter.last}.",
        )
        self._count("requests")
        return request.request_id

    def _answer(self, request_id: int, *, newest: bool = False, supersedes: int | None = None) -> int:
        """Get an answer from the client's agent, or from the built-in one if it refuses. `newest` uses newer prices."""
        if self.client.agent == "optimiser":
            agent = remote.optimiser(self.quarter.last if newest else self.quarter.known)
            if (answer := self._ask_agent(OPTIMISER, agent, request_id, supersedes)) is not None:
                return answer
        answer = self._ask_agent(HOUSE, remote.house(), request_id, supersedes)
        assert answer is not None, "the built-in agent refuses none of the demo's requests"
        return answer

    def _ask_agent(self, name: str, agent: Agent, request_id: int, supersedes: int | None) -> int | None:
        result = remote.answer(self.people[name], agent, request_id, supersedes=supersedes)
        if isinstance(result, AgentRefused):
            self._count("calls_failed", f"refused:{result.reason}")
            return None
        self._count("calls_completed", "recommendations")
        self.position = result.receipt.position
        return result.recommendation_id

    def _decide(self, request_id: int, row: dict[str, Any]) -> None:
        judgement = rules.judge(self.client, self.quarter, self.amount_usd, row["recommendation"], self.chance)
        decided = self._send(row, judgement)
        if judgement.outcome == "respond":
            self._again(request_id)
        elif judgement.members.get("reason_code") == "market-event" and self.client.agent == "optimiser":
            self._again(request_id, newest=True, supersedes=row["id"])
        elif judgement.outcome != "reject":
            self._finish(row, decided)

    def _again(self, request_id: int, *, newest: bool = False, supersedes: int | None = None) -> None:
        """Get a confirmer answer and approve it, or edit it if it is above the house limit."""
        row = self.advisor.recommendation(self._answer(request_id, newest=newest, supersedes=supersedes))
        judgement = rules.concentration(row["recommendation"], self.amount_usd) or rules.APPROVE
        self._finish(row, self._send(row, judgement))

    def _send(self, row: dict[str, Any], judgement: rules.Judgement) -> Decided:
        # advisor-south sometimes approves without opening, so that the report on rubber stamps has rows.
        careless = judgement.outcome == "approve" and self.client.advisor.endswith("south")
        if not (careless and self.chance.random() < rules.UNOPENED):
            self.advisor.open(row["id"], row["digest"])
            self._count("opened")
        decided = self.advisor.decide(row["id"], digest=row["digest"], outcome=judgement.outcome, **judgement.members)
        self._count(judgement.outcome)
        self.position = decided.receipt.position
        self.decisions.append(self.position)
        return decided

    def _finish(self, row: dict[str, Any], decided: Decided) -> None:
        """Get a confirmation if one is needed, and then tell the client."""
        standing: RecommendationAfter | None = decided
        if decided.needs_second:
            self._count("needs_second")
            standing = None if self.last else self._confirm(row, decided)
        if standing is None:
            return
        communicated = self.advisor.communicate(
            row["id"], digest=standing.digest, channel=self.chance.choice(rules.CHANNELS)
        )
        self._count("communicated")
        self.position = communicated.receipt.position

    def _confirm(self, row: dict[str, Any], decided: Decided) -> RecommendationAfter | None:
        """Have compliance confirm the decision. If it declines, the advisor rejects, and None is returned."""
        confirmer = self.people[COMPLIANCE]
        declined = self.chance.random() < rules.DECLINED
        confirmer.open(row["id"], row["digest"])
        self._count("opened")
        confirmed = confirmer.confirm(
            decided.decision_id,
            digest=decided.digest,
            outcome="decline" if declined else "approve",
            rationale="Talk to the client first." if declined else None,
        )
        self.position = confirmed.receipt.position
        if not declined:
            self._count("confirmed")
            return confirmed
        self._count("declined")
        self._send(row, rules.AFTER_DECLINE)
        return None

    def _count(self, *steps: str) -> None:
        self.done.update(steps)
