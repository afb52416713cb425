"""Histories for hypothesis: events of every kind that a fold reads, in any order and about anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from hypothesis import strategies as st

from ledger.store.envelope import Actor, NewEvent, encode, uuid7
from ledger.store.events import Receipt
from schema.events import (
    AgentRegistered,
    AgentResumed,
    AgentSuspended,
    Event,
    ModelCallCompleted,
    ModelCallContentRecorded,
    ModelCallFailed,
    ModelCallStarted,
    PortfolioRequested,
    RecommendationCommunicated,
    RecommendationConfirmed,
    RecommendationDecided,
    RecommendationOpened,
    RecommendationRecorded,
    RequestFailed,
    Shown,
)
from schema.fields import Constraints
from tests.projections.naive import Entry
from tests.support import CLERK

ACTORS = (CLERK, Actor(id="second", kind="human", role="compliance"), Actor(id="robot", kind="agent", role="agent"))
CLIENTS = ("client-a", "client-b", "клиент")
# An "N" in the name of a stream means a number that is new in each example. Each stream has one client, as the ledger
# requires. If a request gets into a stream that is not listed here, the client is the third one.
OWNERS = {"request-N1": CLIENTS[0], "request-N2": CLIENTS[0], "request-N3": CLIENTS[1]}
# Mostly one of the streams, as events about one thing are in one stream.
STREAMS = st.sampled_from([*["request-N1"] * 9, *OWNERS, "request-0N", "request-xN", "policy-N", "agent-N", "agent-N"])
DIGEST = "5" * 64

text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
# A name has no white space around it, and no control characters.
words = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20)
# Text by a person must have a visible character in it.
remarks = st.builds("{}{}".format, text, st.sampled_from(["x", "ж", "…"]))
counts = st.none() | st.integers(0, 2**53 - 1)
objects = st.dictionaries(text, st.integers(-5, 5) | text | st.just(0.5), max_size=3)

limits = st.builds(
    Constraints,
    exclude_asset_classes=st.lists(st.sampled_from(["timber", "gold"]), max_size=2, unique=True),
    min_cash=st.none() | st.decimals(0, 1, places=4),
)


def requests(client: str) -> st.SearchStrategy[Event]:
    """Draw a request."""
    return st.builds(
        PortfolioRequested,
        client_id=st.just(client),
        risk_profile=st.sampled_from(["conservative", "balanced", "aggressive"]),
        amount_usd=st.decimals(min_value="0.01", max_value="999999999999.99", places=2),
        horizon_years=st.none() | st.integers(1, 60),
        objectives=st.none() | st.lists(words, max_size=2),
        constraints=st.none() | limits,
        notes=st.none() | text,
    )


@dataclass
class Past:
    """The events of an example so far, with the positions that they will have. A next event may refer to them."""

    number: str
    next_position: int
    recorded: list[tuple[int, NewEvent]] = field(default_factory=list)

    def add(self, new: NewEvent) -> None:
        """Add the next event."""
        self.recorded.append((self.next_position, new))
        self.next_position += 1

    def positions(self, stream: str, kind: type[Event]) -> st.SearchStrategy[int]:
        """Draw the position of an event of this kind in the stream, or any position nearby, perhaps of no event yet."""
        known = [at for at, new in self.recorded if new.stream == stream and isinstance(new.event, kind)]
        # The draws must not depend on the position at which an example begins.
        anything = st.integers(-5, 3).map(lambda offset: max(1, self.next_position + offset))
        return st.one_of(*[st.sampled_from(known)] * 4, anything) if known else anything

    def ids(self, kind: type[Event]) -> st.SearchStrategy[UUID | None]:
        """Draw the id of an event of this kind in any stream, an id without an event, or None."""
        known = [new.id for _, new in self.recorded if isinstance(new.event, kind)]
        return st.sampled_from([*known * 3, uuid7(), None])


def answers(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw a recommendation."""
    return st.builds(
        RecommendationRecorded,
        recommendation=objects,
        model_name=st.sampled_from(["m1", "m2"]),
        model_version=st.none() | st.just("2"),
        parameters=st.none() | st.dictionaries(text, st.none() | st.booleans(), max_size=2),
        prompt=st.none() | text,
        model_call_id=st.none() | past.positions(stream, ModelCallStarted),
        supersedes=st.none() | past.positions(stream, RecommendationRecorded),
    )


def starts(_past: Past, _stream: str) -> st.SearchStrategy[Event]:
    """Draw the start of a model call."""
    optional = st.none() | words
    return st.builds(
        ModelCallStarted,
        provider_name=words,
        request_model=words,
        request_parameters=st.none() | objects,
        agent_version=optional,
        prompt_name=optional,
        prompt_version=optional,
        prompt_sha256=st.none() | st.just(DIGEST),
        tool_definitions_sha256=st.none() | st.just(DIGEST),
        shown=st.lists(st.builds(Shown, kind=st.just("recommendation"), id=words), max_size=2),
        as_of=st.none() | st.integers(1, 99),
        input_messages=st.none() | st.lists(text, max_size=2),
        capture=st.sampled_from(["direct", "otlp"]),
        mapper_version=optional,
        trace_id=st.none() | st.just("a" * 32),
        span_id=st.none() | st.just("b" * 16),
        claimed_start=st.none() | st.just("2030-01-01T00:00:00.123456789Z"),
    )


def ends(_past: Past, _stream: str) -> st.SearchStrategy[Event]:
    """Draw the end of a model call."""
    completed = st.builds(
        ModelCallCompleted,
        response_id=st.none() | words,
        response_model=st.none() | words,
        response_finish_reasons=st.none() | st.lists(words, max_size=2),
        usage_input_tokens=counts,
        usage_output_tokens=counts,
        usage_cache_read_input_tokens=counts,
        usage_cache_write_input_tokens=counts,
        usage_reasoning_output_tokens=counts,
        time_to_first_chunk_ms=counts,
        latency_ms=counts,
        output_messages=st.none() | objects,
    )
    failed = st.builds(
        ModelCallFailed, error_type=st.sampled_from(["timeout", "500"]), latency_ms=counts, detail=st.none() | text
    )
    return completed | failed


def contents(_past: Past, _stream: str) -> st.SearchStrategy[Event]:
    """Draw messages that came apart from their call."""
    return st.builds(
        ModelCallContentRecorded,
        event_name=st.just("gen_ai.choice"),
        mapper_version=words,
        trace_id=st.just("a" * 32),
        span_id=st.just("b" * 16),
        output_messages=st.none() | objects,
    )


def decides(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw a decision; also one that the write side would refuse, such as a response that needs a confirmation."""
    code = st.none() | st.sampled_from(["too-risky", "out-of-date"])
    return st.builds(
        RecommendationDecided,
        recommendation_id=past.positions(stream, RecommendationRecorded),
        digest=st.just(DIGEST),
        outcome=st.sampled_from(["approve", "edit", "reject", "respond", "respond"]),
        reason_code=code,
        reason_group=code,
        reason_codes_version=st.none() | words,
        rationale=st.none() | remarks,
        replacement=st.none() | objects,
        response=st.none() | remarks,
        needs_second=st.booleans(),
        second_rules=st.lists(st.sampled_from(["amount", "change"]), max_size=2),
        four_eyes_version=words,
    )


def opens(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw an opening."""
    ids = past.positions(stream, RecommendationRecorded)
    return st.builds(RecommendationOpened, recommendation_id=ids, digest=st.just(DIGEST))


def confirms(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw a confirmation."""
    return st.builds(
        RecommendationConfirmed,
        recommendation_id=past.positions(stream, RecommendationRecorded),
        decision_id=past.positions(stream, RecommendationDecided),
        digest=st.just(DIGEST),
        outcome=st.sampled_from(["approve", "decline"]),
        rationale=st.none() | remarks,
    )


def tells(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw a communication to the client."""
    return st.builds(
        RecommendationCommunicated,
        recommendation_id=past.positions(stream, RecommendationRecorded),
        digest=st.just(DIGEST),
        channel=st.sampled_from(["meeting", "email"]),
        message=st.none() | text,
    )


def fails(_past: Past, _stream: str) -> st.SearchStrategy[Event]:
    """Draw the failure of a request."""
    return st.builds(RequestFailed, reason=st.sampled_from(["no-answer", "refused"]), detail=st.none() | text)


def asks(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw a request of the client that owns the stream."""
    return requests(OWNERS.get(stream.replace(past.number, "N"), CLIENTS[2]))


def agents(_past: Past, _stream: str) -> st.SearchStrategy[Event]:
    """Draw an event about an agent."""
    return (
        st.builds(AgentRegistered, answer_schema=st.sampled_from(["weights/v1", "any/v2"]))
        | st.builds(AgentSuspended, reason=remarks)
        | st.builds(AgentResumed, reason=remarks)
    )


KINDS: tuple[Callable[[Past, str], st.SearchStrategy[Event]], ...] = (
    asks,
    *[answers] * 2,
    starts,
    ends,
    contents,
    *[opens] * 3,
    *[decides] * 4,
    *[confirms] * 4,
    tells,
    fails,
    agents,
)


def entry(new: NewEvent, at: Receipt, line: bytes) -> Entry:
    """Return an event as it was appended, with the line that append() took."""
    return Entry(new, at, json.loads(line)["body"].get("sealed", {}))


@st.composite
def batches(draw: st.DrawFn, past: Past) -> list[NewEvent]:
    """Draw a batch that comes after `past`, and add it to `past`."""
    found: list[NewEvent] = []
    for _ in range(draw(st.integers(1, 8))):
        stream = draw(STREAMS).replace("N", past.number)
        kind = draw(st.sampled_from((*KINDS, *[agents] * 9) if stream.startswith("agent-") else KINDS))
        cause = draw(past.ids(ModelCallStarted)) if kind in {ends, contents} else None
        new = NewEvent(uuid7(), stream, draw(kind(past, stream)), draw(st.sampled_from(ACTORS)), causation=cause)
        past.add(new)
        found.append(new)
    return found


def lines(batch: list[NewEvent]) -> list[bytes]:
    """Return the events as append() takes them."""
    return [encode(new) for new in batch]
