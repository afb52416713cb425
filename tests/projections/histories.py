"""Histories for hypothesis: events of every kind that a fold reads, in any order and about anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import strategies as st

from ledger.store.envelope import Actor, Backfill, Line, NewEvent, encode, uuid7
from ledger.store.events import Receipt
from schema.events import (
    AccessRecorded,
    AgentRegistered,
    AgentResumed,
    AgentSuspended,
    CaseReviewed,
    ClientAliased,
    ClientAssigned,
    ClientMerged,
    ClientRegistered,
    ClientUnassigned,
    CredentialIssued,
    CredentialRevoked,
    DecisionExpired,
    DecisionRevoked,
    DecisionWithdrawn,
    ErasureDeclined,
    ErasureRefused,
    ErasureRequested,
    Event,
    Forbidden,
    LegalHoldPlaced,
    LegalHoldReleased,
    ModelCallCompleted,
    ModelCallContentRecorded,
    ModelCallFailed,
    ModelCallStarted,
    PortfolioRequested,
    Reapplied,
    RecommendationCommunicated,
    RecommendationConfirmed,
    RecommendationDecided,
    RecommendationOpened,
    RecommendationRecorded,
    RequestFailed,
    RequestWithdrawn,
    Shown,
    SubjectGroupJoined,
    SubjectGroupLeft,
    SubjectRegistered,
    SubjectResumed,
    SubjectRoleGranted,
    SubjectRoleRevoked,
    SubjectSuspended,
)
from schema.fields import Constraints
from tests.projections import delivered, exported
from tests.projections import histories_monitoring as monitoring
from tests.projections import histories_reviews as supervised
from tests.projections.naive import Entry
from tests.support import CLERK

ACTORS = (CLERK, Actor(id="second", kind="human", role="compliance"), Actor(id="robot", kind="agent", role="agent"))
CLIENTS = ("client-a", "client-b", "клиент")
# An "N" in the name of a stream means a number that is new in each example. Each stream has one client, as the ledger
# requires. If a request gets into a stream that is not listed here, the client is the third one.
OWNERS = {"request-N1": CLIENTS[0], "request-N2": CLIENTS[0], "request-N3": CLIENTS[1]}
# The streams that the ledger knows to be a client's as of a position.
NAMED = "SELECT stream FROM stream_clients WHERE client_id = %s AND position <= %s"
# Mostly one of the streams, as events about one thing are in one stream.
# A client's stream has a client of its own.
CLIENT_STREAMS = ("client-N1", "client-N1", "client-N1", "client-N2", "client-0N")
STREAMS = st.sampled_from(
    [
        *["request-N1"] * 9,
        *OWNERS,
        *["request-0N", "request-xN", "policy-N", "access-N"],
        *["agent-N"] * 2,
        *["subject-N"] * 3,
        *CLIENT_STREAMS,
        *["portfolio-N"] * 3,
        *["portfolio-xN", "monitoring-N", "monitoring-N", "monitoring-0N"],
        *["export-N", "export-N", "export-0N"],
        *["delivery-N", "delivery-N", "delivery-0N"],
        *["sample-N", "sample-0N"],
        *["flows-N", "flows-N", "valuation-N", "corporate-actions"],
    ]
)
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
        portfolio=st.none() | st.just("p1"),
    )


@dataclass
class Past:
    """The events of an example so far, with the positions that they will have. A next event may refer to them."""

    number: str
    next_position: int
    recorded: list[tuple[int, NewEvent]] = field(default_factory=list)
    # The streams in which no imported event follows.
    live: set[str] = field(default_factory=set)

    def backfill(self, stream: str) -> st.SearchStrategy[Backfill | None]:
        """Draw where an event comes from if it may be an imported one: what is imported begins its stream."""
        if stream in self.live or not stream.startswith(("request-", "client-", "trace-", "content-")):
            return st.none()
        second = timedelta(seconds=len(self.recorded))
        at = f"{datetime(2001, 2, 27, 23, 59, tzinfo=UTC) + second:%Y-%m-%dT%H:%M:%S}.5Z"
        return st.none() | st.builds(Backfill, st.sampled_from(ACTORS), st.just(at), st.just({"line": 1}))

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
        confirm_within_hours=st.none() | st.integers(1, 87_600),
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


def takes_back(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw the withdrawal, revocation or expiry of a decision; seldom the withdrawal of the request."""
    about = {
        "recommendation_id": past.positions(stream, RecommendationRecorded),
        "decision_id": past.positions(stream, RecommendationDecided),
    }
    why = {"reason_code": st.sampled_from(["data-entry-error", "other"])}
    return st.one_of(
        *[st.builds(DecisionWithdrawn, **about, **why, rationale=st.none() | remarks)] * 2,
        *[st.builds(DecisionRevoked, **about, **why, rationale=remarks)] * 3,
        *[st.builds(DecisionExpired, **about)] * 2,
        st.builds(RequestWithdrawn, **why, rationale=st.none() | remarks, replaced_by=st.none() | st.integers(1, 9)),
    )


def reviews(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw the review of a case, up to a decision or to any position."""
    upto = past.positions(stream, RecommendationDecided)
    dispositions = st.sampled_from(["no-concern", "concern"])
    return st.builds(CaseReviewed, upto=upto, disposition=dispositions, note=st.none() | remarks)


def samples(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw a sample of decisions."""
    return supervised.samples(past, stream)


def items(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw an event about an item of a sample."""
    return supervised.items(past, stream)


def findings(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw an event about a finding."""
    return supervised.findings(past, stream)


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


TIMES = st.none() | st.sampled_from(["2030-01-01T00:00:00Z", "2031-01-01T00:00:00.5Z"])
NUMBERS = st.integers(1, 3)
WORDS = st.sampled_from(["advisor", "compliance", "agent"])


def subjects(_past: Past, _stream: str) -> st.SearchStrategy[Event]:
    """Draw an event about a subject."""
    kinds = st.sampled_from(["human", "agent", "service"])
    limits = st.none() | st.lists(st.integers(1, 9), max_size=2)
    return (
        st.builds(SubjectRegistered, kind=kinds, display_name=st.none() | words)
        | st.builds(SubjectRoleGranted, role=WORDS, until=TIMES, clients=limits)
        | st.builds(SubjectRoleRevoked, role=WORDS, reason=st.none() | remarks)
        | st.builds(SubjectSuspended, reason=remarks)
        | st.builds(SubjectResumed, reason=remarks)
        | st.builds(SubjectGroupJoined, group=WORDS)
        | st.builds(SubjectGroupLeft, group=WORDS)
    )


def credentials(_past: Past, _stream: str) -> st.SearchStrategy[Event]:
    """Draw an event about a credential."""

    def token(replaces: int | None, until: str | None, **members: object) -> Event:
        found = {"kind": "token", "sha256": DIGEST, **members, "replaces": replaces}
        return CredentialIssued.model_validate(found if replaces is None else {**found, "replaced_until": until})

    return (
        st.builds(token, st.none() | NUMBERS, TIMES, credential=NUMBERS, expires_at=TIMES)
        | st.builds(CredentialIssued, credential=NUMBERS, kind=st.just("oidc"), issuer=words, identity=words)
        | st.builds(CredentialRevoked, credential=NUMBERS, reason=st.none() | remarks)
    )


def accesses(_past: Past, _stream: str) -> st.SearchStrategy[Event]:
    """Draw a record of reading."""
    return st.builds(
        AccessRecorded,
        subject=words,
        role=st.sampled_from(["advisor", "auditor"]),
        credential=st.none() | st.integers(1, 3),
        action=st.sampled_from(["read", "export", "refused"]),
        resource=words,
        parameters=st.none() | st.lists(words, max_size=2),
        requests=st.none() | st.lists(st.integers(1, 9), min_size=1, max_size=3),
        clients=st.none() | st.lists(st.integers(1, 9), min_size=1, max_size=3),
        rows=counts,
        reason=st.none() | st.just("wrong-role"),
    )


def clients(_past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw an event about a client. An identifier is that of its stream, as it must be unique in the ledger."""
    year = "20{}-01-01T00:00:00Z".format
    times = st.sampled_from([(None, None), (year(25), None), (None, year(26)), (year(25), year(27))])
    subjects, groups = st.sampled_from(["ann", "bob"]), st.sampled_from(["ann", "zurich"])
    who = subjects.map(lambda name: {"subject": name}) | groups.map(lambda name: {"group": name})
    identifier = f"known as {stream}"
    return (
        st.builds(ClientRegistered, client_id=st.just(identifier), subject=st.none() | subjects)
        | st.builds(ClientAliased, client_id=st.just(identifier), of=st.integers(1, 5))
        | st.builds(ClientMerged, into=st.integers(1, 5))
        | st.builds(lambda to, when: ClientAssigned(**to, since=when[0], until=when[1]), who, times)
        | st.builds(lambda to: ClientUnassigned(**to), who)
    )


def holds(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw an event about a legal hold."""
    hold_id = past.positions(stream, LegalHoldPlaced)
    return st.builds(LegalHoldPlaced, reason=remarks, request_id=st.none() | NUMBERS) | st.builds(
        LegalHoldReleased, reason=remarks, hold_id=hold_id
    )


def erasures(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw an event about an erasure, but for that which erase() alone records, with its effect."""
    erasure_id = past.positions(stream, ErasureRequested)
    forbidden = st.builds(Forbidden, holds=st.none() | st.just([1]), kept_until=st.none() | st.just("2030-01-01"))
    counts = {"streams": NUMBERS, "events": NUMBERS, "values": NUMBERS, "clients": st.just([1])}
    reason = st.sampled_from(["client-request", "retention-over"])
    return (
        st.builds(
            ErasureRequested,
            reason=reason,
            reference=st.none() | st.just("DSR-1"),
            note=st.none() | remarks,
            forbidden=st.none() | forbidden,
            expires_at=TIMES,
            reapplies=st.none() | st.just(Reapplied(event=9, hash="0" * 64, requested_by="ann", erased_by="bob")),
            **counts,
        )
        | st.builds(ErasureDeclined, erasure_id=erasure_id, rationale=remarks)
        | st.builds(ErasureRefused, erasure_id=erasure_id, forbidden=forbidden)
    )


def defined(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw the definition of a portfolio of the client that owns the stream."""
    return monitoring.defined(OWNERS.get(stream.replace(past.number, "N"), CLIENTS[2]))


def flows(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw a flow of a portfolio of the client that owns the stream."""
    return monitoring.flow(OWNERS.get(stream.replace(past.number, "N"), CLIENTS[2]))


def valuations(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw a valuation of a portfolio of the client that owns the stream."""
    return monitoring.valuation(OWNERS.get(stream.replace(past.number, "N"), CLIENTS[2]))


def actions(_past: Past, _stream: str) -> st.SearchStrategy[Event]:
    """Draw a corporate action."""
    return monitoring.actions()


def alerts(_past: Past, _stream: str) -> st.SearchStrategy[Event]:
    """Draw an event about an alert."""
    return monitoring.alerts()


def runs(_past: Past, _stream: str) -> st.SearchStrategy[Event]:
    """Draw an event of a run of monitoring."""
    return monitoring.runs()


def exports(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw an event of an export of the data of the client that owns the stream."""
    return exported.exports(OWNERS.get(stream.replace(past.number, "N"), CLIENTS[2]))


def deliveries(_past: Past, _stream: str) -> st.SearchStrategy[Event]:
    """Draw an event of a message to an endpoint."""
    return delivered.deliveries()


KINDS: tuple[Callable[[Past, str], st.SearchStrategy[Event]], ...] = (
    asks,
    *[answers] * 2,
    starts,
    ends,
    contents,
    *[opens] * 3,
    *[decides] * 4,
    *[confirms] * 4,
    *[takes_back] * 2,
    *[reviews] * 2,
    *[items] * 2,
    *[findings] * 2,
    tells,
    fails,
    agents,
    subjects,
    credentials,
    accesses,
    alerts,
    runs,
)
# Streams whose events are mostly of their own kinds.
OF_STREAM: dict[str, tuple[Callable[[Past, str], st.SearchStrategy[Event]], ...]] = {
    "agent": (agents,) * 9,
    "subject": (subjects,) * 9 + (credentials,) * 9,
    "access": (accesses,) * 9,
    "portfolio": (defined,) * 6 + (alerts,) * 20,
    "monitoring": (runs,) * 12,
    "flows": (flows,) * 20,
    "valuation": (valuations,) * 20,
    "corporate": (actions,) * 20,
    "export": (exports,) * 12,
    "delivery": (deliveries,) * 12,
    "sample": (samples,) * 12,
}


def _kinds(stream: str) -> tuple[Callable[[Past, str], st.SearchStrategy[Event]], ...]:
    if stream.startswith("client-"):
        return (*(kind for kind in KINDS if kind is not asks), *[clients] * 20, *[holds] * 10, *[erasures] * 10)
    return KINDS + OF_STREAM.get(stream.partition("-")[0], ())


def entry(new: NewEvent, at: Receipt, line: Line) -> Entry:
    """Return an event as it was appended, with the line that append() took."""
    commitments = json.loads(line.body()).get("sealed", {})
    if new.backfill is None:
        return Entry(new, at, commitments, at.recorded_at)
    occurred_at = datetime.fromisoformat(new.backfill.occurred_at)
    return Entry(new, replace(at, recorded_at=occurred_at), commitments, at.recorded_at)


@st.composite
def batches(draw: st.DrawFn, past: Past) -> list[NewEvent]:
    """Draw a batch that comes after `past`, and add it to `past`."""
    found: list[NewEvent] = []
    for _ in range(draw(st.integers(1, 8))):
        stream = draw(STREAMS).replace("N", past.number)
        kind = draw(st.sampled_from(_kinds(stream)))
        cause = draw(past.ids(ModelCallStarted)) if kind in {ends, contents} else None
        new = NewEvent(
            uuid7(),
            stream,
            draw(kind(past, stream)),
            draw(st.sampled_from(ACTORS)),
            causation=cause,
            # This one stream goes on from example to example.
            backfill=None if stream == "corporate-actions" else draw(past.backfill(stream)),
        )
        if new.backfill is None:
            past.live.add(stream)
        past.add(new)
        found.append(new)
    return found


def lines(batch: list[NewEvent]) -> list[Line]:
    """Return the events as append() takes them."""
    return [encode(new) for new in batch]
