"""A retry is recognised: the recorded event has the members that the command brings, whatever the ledger added."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
import pytest

from ledger.domain.history import RecordedEvent
from ledger.service.command import Command
from ledger.store.envelope import Actor, NewEvent, uuid7
from schema.events import Confirm, RecommendationConfirmed, RecommendationRecorded, RequestFailed
from tests.support import line as text_line

ANN = Actor("ann", "human", "advisor")
DIGEST = "d" * 64


def recorded(new: NewEvent, *erased: str) -> RecordedEvent:
    """The event as it is read back, without the values of these sealed members."""
    line = orjson.loads(text_line(new))
    values = {name: value for name, value in line.get("fields", {}).items() if name not in erased}
    body = json.dumps(line["body"])
    return RecordedEvent(7, new.id, new.stream, 3, new.event.type, body, json.dumps(values))


def confirmed(**members: Any) -> RecommendationConfirmed:
    """A confirmation of decision 5, as it is recorded."""
    added: dict[str, Any] = {"recommendation_id": 4, "decision_id": 5, "four_eyes_version": "1"}
    command: dict[str, Any] = {"digest": DIGEST, "outcome": "approve", "rationale": "fine"}
    return RecommendationConfirmed.model_validate({**added, **command, **members})


def command(stream: str = "request-1", **members: Any) -> Command:
    """The command that records confirmed(), or one with other members."""
    body = Confirm.model_validate({"digest": DIGEST, "outcome": "approve", "rationale": "fine", **members})
    derived = frozenset({"recommendation_id", "four_eyes_version"})
    all_members = {**body.model_dump(exclude_none=True), "decision_id": 5}
    return Command(ANN, stream, RecommendationConfirmed, all_members, uuid7(), derived)


@pytest.fixture
def event() -> RecordedEvent:
    """confirmed() as it is read back."""
    return recorded(NewEvent(uuid7(), "request-1", confirmed(), ANN))


def test_members_that_the_ledger_adds_are_not_compared(event: RecordedEvent) -> None:
    """The same command is a retry, whichever recommendation and policy the ledger added."""
    assert command().is_repeated_by(event)
    other = recorded(NewEvent(uuid7(), "request-1", confirmed(recommendation_id=99, four_eyes_version="2"), ANN))
    assert command().is_repeated_by(other)


@pytest.mark.parametrize("members", [{"digest": "e" * 64}, {"outcome": "decline"}, {"rationale": "no"}])
def test_another_member_makes_another_command(event: RecordedEvent, members: dict[str, Any]) -> None:
    """Each member that the caller sends counts, sealed or in clear."""
    assert not command(**members).is_repeated_by(event)


def test_another_stream_or_type_makes_another_command(event: RecordedEvent) -> None:
    """A key that was used for another stream or another type of event is not a retry."""
    assert not command("request-2").is_repeated_by(event)
    failed = recorded(NewEvent(uuid7(), "request-1", RequestFailed(reason="x"), ANN))
    assert not command().is_repeated_by(failed)


def test_an_erased_member_is_not_compared() -> None:
    """After erasure a retry is still recognised, by the members in clear."""
    erased = recorded(NewEvent(uuid7(), "request-1", confirmed(), ANN), "rationale")
    assert command(rationale="other").is_repeated_by(erased)
    assert not command(outcome="decline").is_repeated_by(erased)


def test_a_derived_member_counts_if_the_caller_sent_it() -> None:
    """An answer with `supersedes` and the same answer without it are two commands, unless the ledger added it."""
    plain = RecommendationRecorded(recommendation={"a": 1}, model_name="m")
    event = recorded(NewEvent(uuid7(), "request-1", plain.model_copy(update={"supersedes": 4}), ANN))
    sent = Command.of_event(ANN, "request-1", plain, None, "supersedes")
    assert sent.is_repeated_by(event)
    naming = Command.of_event(ANN, "request-1", plain.model_copy(update={"supersedes": 5}), None, "supersedes")
    assert not naming.is_repeated_by(event)


def test_the_cause_counts_if_the_command_has_one() -> None:
    """The end of another call is another command, although its members are the same."""
    cause = uuid7()
    event = recorded(NewEvent(uuid7(), "request-1", RequestFailed(reason="x"), ANN, causation=cause))
    sent = Command.of_event(ANN, "request-1", RequestFailed(reason="x"), None)
    assert sent.is_repeated_by(event)
    assert replace(sent, causation=cause).is_repeated_by(event)
    assert not replace(sent, causation=UUID(int=1)).is_repeated_by(event)
