"""Streams of a request for pure tests: events as they would be recorded, by the real envelope, without a database."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ledger.domain.case import Case, fold_case
from ledger.domain.four_eyes import FourEyes
from ledger.domain.history import RecordedEvent
from ledger.store.envelope import Actor, NewEvent, encode, uuid7
from schema.events import (
    Event,
    ModelCallCompleted,
    ModelCallStarted,
    PortfolioRequested,
    RecommendationCommunicated,
    RecommendationConfirmed,
    RecommendationDecided,
    RecommendationRecorded,
)

# Positions are far from versions, so that neither is taken for the other.
BEFORE = 100
ANSWER = {"weights": {"cash": "0.5000", "bonds": "0.5000"}}
REPLACEMENT = {"weights": {"cash": "1.0000"}}
ELSEWHERE = "e" * 64


def four_eyes(**members: Any) -> FourEyes:
    """A policy with these members, from a file, as all are; without any, no decision waits."""
    text = {"name": "four-eyes", "version": "1", "rules": [], "second_roles": ["advisor"], **members}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "policy.json"
        path.write_text(json.dumps(text))
        return FourEyes.load(path)


def past_of(
    event: Event, position: int, version: int, by: str, causation: RecordedEvent | None = None
) -> RecordedEvent:
    """The event as its stream has it."""
    actor = Actor(by, "agent" if by.startswith("robot") else "human", "agent" if by.startswith("robot") else "advisor")
    new = NewEvent(uuid7(), "request-1", event, actor, causation=None if causation is None else causation.id)
    body = json.dumps(json.loads(encode(new).body()))
    return RecordedEvent(position, new.id, new.stream, version, event.type, body)


@dataclass
class Story:
    """A stream that grows."""

    pasts: list[RecordedEvent] = field(default_factory=list)

    @property
    def case(self) -> Case:
        """The state after all of it."""
        return fold_case(self.pasts)

    def add(self, event: Event, by: str = "ann", causation: RecordedEvent | None = None) -> RecordedEvent:
        """Records the event."""
        number = len(self.pasts) + 1
        self.pasts.append(past_of(event, BEFORE + number, number, by, causation))
        return self.pasts[-1]

    def ask(self, amount_usd: str = "1000.00") -> RecordedEvent:
        """A request."""
        asked = {"client_id": "client-1", "risk_profile": "balanced", "amount_usd": Decimal(amount_usd)}
        return self.add(PortfolioRequested.model_validate(asked))

    def call(self, by: str = "robot") -> RecordedEvent:
        """A model call that is open."""
        return self.add(ModelCallStarted(provider_name="p", request_model="m"), by)

    def completed(self, by: str = "robot") -> RecordedEvent:
        """A model call that gave something: its start."""
        started = self.call(by)
        self.add(ModelCallCompleted(), by, started)
        return started

    def answer(self, by: str = "robot") -> RecordedEvent:
        """An answer, where it takes the place of the current one if there is one."""
        current = self.case.recommendation
        supersedes = None if current is None else current.id
        return self.add(RecommendationRecorded(recommendation=ANSWER, model_name="model-a", supersedes=supersedes), by)

    def decide(self, outcome: str, by: str = "ann", *, second: bool = False) -> RecordedEvent:
        """A decision on the current recommendation, whatever would be said to it."""
        current = self.case.recommendation
        assert current is not None
        decided: dict[str, Any] = {"recommendation_id": current.id, "digest": current.digest, "outcome": outcome}
        if outcome == "edit":
            decided["replacement"] = REPLACEMENT
        return self.add(
            RecommendationDecided(
                **decided, needs_second=second, second_rules=["rule"] if second else [], four_eyes_version="1"
            ),
            by,
        )

    def confirm(self, outcome: str, by: str = "bob") -> RecordedEvent:
        """A confirmation of the decision that waits."""
        current = self.case.recommendation
        assert current is not None
        assert current.decision is not None
        said = {"recommendation_id": current.id, "decision_id": current.decision.id, "outcome": outcome}
        return self.add(RecommendationConfirmed.model_validate({**said, "digest": current.decision.digest}), by)

    def communicate(self, by: str = "ann") -> RecordedEvent:
        """The client is told what stands."""
        current = self.case.recommendation
        assert current is not None
        told = {"recommendation_id": current.id, "digest": current.current_digest, "channel": "meeting"}
        return self.add(RecommendationCommunicated.model_validate(told), by)


def standing(case: Case) -> str:
    """`nothing`, `queued`, `failed`, or the state of the current recommendation; both where one says too little."""
    if case.state is None:
        return "nothing"
    if case.recommendation is None:
        return "unanswered, withdrawn" if case.state == "withdrawn" else case.state
    expected = {"returned": "queued", "withdrawn": "withdrawn"}.get(case.recommendation.state, "recommended")
    if case.state == expected:
        return case.recommendation.state
    return f"{case.recommendation.state}, {case.state}"
