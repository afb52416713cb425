"""The read models folded a second time, in plain Python, from the events that were passed to append()."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from ledger.store.envelope import Actor, NewEvent
from ledger.store.events import Receipt
from schema.events import (
    CaseReviewed,
    DecisionExpired,
    DecisionRevoked,
    DecisionWithdrawn,
    Event,
    PortfolioRequested,
    RecommendationCommunicated,
    RecommendationConfirmed,
    RecommendationDecided,
    RecommendationOpened,
    RecommendationRecorded,
    RequestFailed,
    RequestWithdrawn,
)
from schema.findings import FindingClosed, FindingOpened
from schema.samples import ReviewAssigned

Row = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """An event that was passed to append(), its receipt, and the commitments to its sealed values.

    The time of the receipt is when the event took place, as an imported event says it.
    """

    new: NewEvent
    at: Receipt
    commitments: dict[str, str]
    recorded_at: datetime

    @property
    def event(self) -> Event:
        """The event itself."""
        return self.new.event

    @property
    def by(self) -> str:
        """The id of the actor."""
        return self.actor.id

    @property
    def actor(self) -> Actor:
        """Who acted; of an imported event, who did then."""
        return self.new.actor if self.new.backfill is None else self.new.backfill.actor

    @property
    def is_imported(self) -> bool:
        """True if it was imported."""
        return self.new.backfill is not None

    @property
    def request_id(self) -> int | None:
        """N if the stream is `request-N`, or else None."""
        number = self.at.stream.removeprefix("request-")
        return int(number) if number.isdigit() and self.at.stream != number and number[0] != "0" else None


def portfolio_requests(history: Iterable[Entry]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: dict[int, Row] = {}
    # Whether each request was imported, and each response to its current recommendation.
    asked: dict[int, list[bool]] = {}
    for entry in history:
        number = entry.request_id
        if number is None:
            continue
        if isinstance(entry.event, PortfolioRequested) and entry.at.version == 1:
            rows[number] = _asked(number, entry.event, entry)
            asked[number] = [entry.is_imported]
        elif number in rows:
            current = rows[number]["recommendation_id"]
            rows[number] |= _told(entry, rows[number])
            match entry.event:
                case RecommendationRecorded():
                    del asked[number][1:]
                case RecommendationDecided(outcome="respond", needs_second=False, recommendation_id=about):
                    asked[number] += [entry.is_imported] * (about == current)
            rows[number]["imported"] = all(asked[number][1:] or asked[number])
    return [rows[number] for number in sorted(rows)]


def _asked(number: int, event: PortfolioRequested, entry: Entry) -> Row:
    limits = event.constraints
    return {
        "stream": entry.at.stream,
        "id": number,
        "client_id": event.client_id,
        "risk_profile": event.risk_profile,
        "amount_usd": event.amount_usd,
        "horizon_years": event.horizon_years,
        "objectives": event.objectives,
        "constraints": None if limits is None else limits.model_dump(mode="json", exclude_none=True),
        "notes": event.notes,
        "portfolio": event.portfolio,
        "requested_by": entry.by,
        "imported": entry.is_imported,
        "created_at": entry.at.recorded_at,
        "recommendation_id": None,
        **dict.fromkeys(WITHDRAWAL),
    } | _status("queued", entry.at)


WITHDRAWAL = (
    *("withdrawal_id", "withdrawn_at", "withdrawn_by", "withdrawal_reason"),
    *("withdrawal_rationale", "replaced_by"),
)


def _told(entry: Entry, row: Row) -> Row:
    """Return what an event after the first changes in the row of its request. A withdrawal is final."""
    event, at = entry.event, entry.at
    told = _of_status(event, at, row["recommendation_id"])
    if row["withdrawal_id"] is not None:
        return told and {**told, "status": "withdrawn"}
    if isinstance(event, RequestWithdrawn):
        found = (at.position, at.recorded_at, entry.by, event.reason_code, event.rationale, event.replaced_by)
        return {"status": "withdrawn", "updated_at": at.recorded_at, **dict(zip(WITHDRAWAL, found, strict=True))}
    return told


def _of_status(event: Event, at: Receipt, current: int | None) -> Row:
    match event:
        case RecommendationRecorded():
            return _status("recommended", at) | {"recommendation_id": at.position}
        case RequestFailed():
            return _status("failed", at) | {"failure_reason": event.reason, "failure_detail": event.detail}
        case RecommendationDecided(outcome="respond", needs_second=False) if event.recommendation_id == current:
            return _status("queued", at)
    return {}


def _status(status: str, at: Receipt) -> Row:
    return {"status": status, "failure_reason": None, "failure_detail": None, "updated_at": at.recorded_at}


SUPERVISION = CaseReviewed | ReviewAssigned | FindingOpened | FindingClosed


@dataclass
class Decision:
    """A decision, what settled it if it needs a confirmation, and its revocation once it is in force."""

    entry: Entry
    event: RecommendationDecided
    settled: Entry | None = None
    revoked: Entry | None = None
    review: Entry | None = None
    samples: int = 0
    # Whether each finding about it is closed, by the finding's position.
    findings: dict[int, bool] = field(default_factory=dict)

    def see(self, entry: Entry) -> None:
        """Take a later event that names it, withdraws its request or supervises the case."""
        event, mine = entry.event, self.entry.at.position
        if isinstance(event, SUPERVISION):
            if isinstance(event, CaseReviewed) and event.upto >= mine:
                self.review = entry
            elif isinstance(event, ReviewAssigned):
                self.samples += event.decision_id == mine
            elif isinstance(event, FindingOpened) and event.decision_id in {None, mine}:
                self.findings[entry.at.position] = False
            elif isinstance(event, FindingClosed) and event.finding_id in self.findings:
                self.findings[event.finding_id] = True
        elif isinstance(entry.event, DecisionRevoked):
            if self.state == "effective":
                self.revoked = entry
        elif self.state == "waiting":
            self.settled = entry

    @property
    def confirmed(self) -> RecommendationConfirmed | None:
        """Its confirmation."""
        event = self.settled and self.settled.event
        return event if isinstance(event, RecommendationConfirmed) else None

    @property
    def second(self) -> Entry | None:
        """The entry of its confirmation."""
        return self.settled if self.confirmed else None

    @property
    def ended(self) -> Entry | None:
        """The entry that withdrew, revoked or expired it."""
        return self.revoked or (None if self.confirmed else self.settled)

    @property
    def state(self) -> str:
        """The state."""
        if self.revoked is not None:
            return "revoked"
        if self.confirmed is not None:
            return "effective" if self.confirmed.outcome == "approve" else "declined"
        if not self.event.needs_second:
            return "effective"
        if self.settled is None:
            return "waiting"
        return "expired" if isinstance(self.settled.event, DecisionExpired) else "withdrawn"


@dataclass
class Case:
    """A recommendation of a request, and the later events of its stream that name it."""

    entry: Entry
    event: RecommendationRecorded
    openings: list[Entry] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    told: list[tuple[Entry, RecommendationCommunicated]] = field(default_factory=list)
    after: Entry | None = None
    withdrawn: Entry | None = None

    def add(self, entry: Entry) -> None:
        """Add an event that names it."""
        match entry.event:
            case RecommendationOpened():
                self.openings.append(entry)
            case RecommendationDecided():
                self.decisions.append(Decision(entry, entry.event))
            case RecommendationCommunicated():
                self.told.append((entry, entry.event))
            case RecommendationConfirmed() | DecisionWithdrawn() | DecisionExpired() | DecisionRevoked() as event:
                for found in self.decisions:
                    if found.entry.at.position == event.decision_id:
                        found.see(entry)

    def see(self, entry: Entry, *, first: bool) -> None:
        """Take a review, or a withdrawal of the request.

        The first withdrawal is shown, if no recommendation came after this one.
        """
        if isinstance(entry.event, RequestWithdrawn) and first and self.after is None:
            self.withdrawn = entry
        for found in self.decisions:
            found.see(entry)

    def declines(self, before: int) -> list[Decision]:
        """Return the decisions that were declined before a position, in the order of the declines."""
        declined = [found for found in self.decisions if found.second is not None and found.confirmed is not None]
        declined = [found for found in declined if found.confirmed and found.confirmed.outcome != "approve"]
        entries = [(found.second.at.position, found) for found in declined if found.second is not None]
        return [found for at, found in sorted(entries, key=lambda one: one[0]) if at < before]

    def last_opened(self, who: str, after: int, before: Receipt) -> datetime | None:
        """Return when this person last opened it between the two positions."""
        mine = [entry.at for entry in self.openings if entry.by == who]
        found = [at.recorded_at for at in mine if after < at.position < before.position]
        return found[-1] if found else None

    @property
    def times(self) -> list[Any]:
        """The times at which its row changed."""
        decided = [entry for found in self.decisions for entry in (found.entry, found.settled, found.revoked)]
        told = [entry for entry, _ in self.told[:1]]
        entries = [self.entry, *self.openings[:1], *decided, *told, self.after, self.withdrawn]
        return [entry.at.recorded_at for entry in entries if entry is not None]


def _seconds(took: timedelta) -> Decimal:
    return Decimal(took.days * 86400 + took.seconds) + Decimal(took.microseconds) / 1_000_000


def cases(history: Iterable[Entry]) -> list[Case]:
    """Return all recommendations of requests, in the order of id."""
    found: dict[tuple[str, int], Case] = {}
    latest: dict[str, Case] = {}
    over: set[str] = set()
    for entry in history:
        event, stream = entry.event, entry.at.stream
        if isinstance(event, RecommendationRecorded) and entry.request_id is not None:
            if stream in latest:
                latest[stream].after = entry
            latest[stream] = found[stream, entry.at.position] = Case(entry, event)
        elif isinstance(event, RequestWithdrawn | SUPERVISION):
            for one in found.values():
                if one.entry.at.stream == stream:
                    one.see(entry, first=stream not in over)
            over |= {stream} if isinstance(event, RequestWithdrawn) else set()
        elif (case := found.get((stream, getattr(event, "recommendation_id", 0)))) is not None:
            case.add(entry)
    return list(found.values())


def of_requests(history: Iterable[Entry]) -> dict[str, Row]:
    """Return what rows of a stream have of its request, by stream."""
    return {
        entry.at.stream: {
            "requested_by": entry.by,
            "risk_profile": entry.event.risk_profile,
            "amount_usd": entry.event.amount_usd,
        }
        for entry in history
        if isinstance(entry.event, PortfolioRequested) and entry.at.version == 1
    }


NO_REQUEST: Row = {"requested_by": None, "risk_profile": None, "amount_usd": None}


def ai_recommendations(history: Iterable[Entry], clients: dict[str, str]) -> list[Row]:
    """Return the rows, in the order of id. `clients` maps each stream to its client, known at any time."""
    history = list(history)
    asked = of_requests(history)
    return [_recommendation(case, clients) | asked.get(case.entry.at.stream, NO_REQUEST) for case in cases(history)]


def _recommendation(case: Case, clients: dict[str, str]) -> Row:
    entry, event = case.entry, case.event
    opened = case.openings[0] if case.openings else None
    told = case.told[0] if case.told else None
    decision = next((found for found in reversed(case.decisions) if found.state in IN_FORCE), None)
    edited = decision is not None and decision.state == "effective" and decision.event.outcome == "edit"
    standing = decision.entry.commitments.get("replacement") if decision and edited else None
    declines = case.declines(1 << 62)
    return {
        "stream": entry.at.stream,
        "id": entry.at.position,
        "request_id": entry.request_id,
        "client_id": clients.get(entry.at.stream),
        "state": _state(case, decision),
        "digest": standing or entry.commitments["recommendation"],
        "recommendation": event.recommendation,
        "model_name": event.model_name,
        "model_version": event.model_version,
        "parameters": event.parameters,
        "prompt": event.prompt,
        "model_call_id": event.model_call_id,
        "supersedes": event.supersedes,
        "superseded_by": case.after and case.after.at.position,
        "opened_at": opened and opened.at.recorded_at,
        "opened_by": opened and opened.by,
        **_decision_of(decision),
        "declines": len(declines),
        **_last_decline(declines),
        "communicated_at": told and told[0].at.recorded_at,
        "communicated_by": told and told[0].by,
        "channel": told and told[1].channel,
        "message": told and told[1].message,
        "communicated_digest": told and told[1].digest,
        "agent": entry.by,
        "created_at": entry.at.recorded_at,
        "updated_at": max(case.times),
    }


IN_FORCE = ("effective", "waiting")


def _last_decline(declines: list[Decision]) -> Row:
    last = declines[-1] if declines else None
    second, confirmed = (last.second, last.confirmed) if last else (None, None)
    return {
        "decline_id": second and second.at.position,
        "declined_by": second and second.by,
        "declined_at": second and second.at.recorded_at,
        "decline_rationale": confirmed and confirmed.rationale,
    }


def _state(case: Case, decision: Decision | None) -> str:
    if case.after is not None:
        return "superseded"
    if case.told:
        return "communicated"
    if case.withdrawn is not None:
        return "withdrawn"
    if decision is None:
        return "proposed"
    done = {"approve": "approved", "edit": "edited", "reject": "rejected", "respond": "returned"}
    return "waiting" if decision.state == "waiting" else done[decision.event.outcome]


def _decision_of(found: Decision | None) -> Row:
    event = found.event if found else None
    return {
        "decision_id": found and found.entry.at.position,
        "outcome": event and event.outcome,
        "decided_by": found and found.entry.by,
        "decided_at": found and found.entry.at.recorded_at,
        "reason_code": event and event.reason_code,
        "reason_group": event and event.reason_group,
        "rationale": event and event.rationale,
        "replacement": event.replacement if event else None,
        "replacement_digest": found and found.entry.commitments.get("replacement"),
        "response": event and event.response,
        "needs_second": event and event.needs_second,
        "second_rules": event.second_rules if event else None,
        "confirmed_by": found and found.second and found.second.by,
        "confirmed_at": found and found.second and found.second.at.recorded_at,
    }


def decisions(history: Iterable[Entry], clients: dict[str, str]) -> list[Row]:
    """Return the rows, in the order of id."""
    history = list(history)
    asked = of_requests(history)
    rows = [
        _decision(case, found, clients) | asked.get(case.entry.at.stream, NO_REQUEST)
        for case in cases(history)
        for found in case.decisions
    ]
    return sorted(rows, key=lambda row: int(row["id"]))


def _decision(case: Case, found: Decision, clients: dict[str, str]) -> Row:
    at, event, second = found.entry.at, found.event, found.second
    opened = case.last_opened(found.entry.by, 0, at)
    second_opened = second and case.last_opened(second.by, at.position, second.at)
    ended, declines = found.ended, case.declines(at.position)
    hours = event.confirm_within_hours
    lasting = ("recommendation_id", "outcome", "digest", "reason_code", "reason_group", "rationale", "replacement")
    also = ("response", "needs_second", "second_rules", "four_eyes_version", "reason_codes_version")
    return {name: getattr(event, name) for name in (*lasting, *also)} | {
        "stream": at.stream,
        "id": at.position,
        "request_id": found.entry.request_id,
        "client_id": clients.get(at.stream),
        "state": found.state,
        "replacement_digest": found.entry.commitments.get("replacement"),
        "decided_by": found.entry.by,
        "decided_role": found.entry.actor.role,
        "opened_at": opened,
        "created_at": at.recorded_at,
        "seconds_to_decide": _seconds(at.recorded_at - (opened or case.entry.at.recorded_at)),
        "review_id": found.review and found.review.at.position,
        "reviewed_by": found.review and found.review.by,
        "reviewed_at": found.review and found.review.at.recorded_at,
        "disposition": found.review and getattr(found.review.event, "disposition", None),
        "review_note": found.review and getattr(found.review.event, "note", None),
        "samples": found.samples,
        "findings": len(found.findings),
        "open_findings": len(found.findings) - sum(found.findings.values()),
        "confirm_by": None if hours is None else found.entry.recorded_at + timedelta(hours=hours),
        "end_id": ended and ended.at.position,
        "ended_by": ended and ended.by,
        "ended_at": ended and ended.at.recorded_at,
        "end_reason": ended and getattr(ended.event, "reason_code", None),
        "end_rationale": ended and getattr(ended.event, "rationale", None),
        "earlier_declines": len(declines),
        **_last_decline(declines),
        "confirmation": found.confirmed and found.confirmed.outcome,
        "confirmed_by": second and second.by,
        "confirmed_role": second and second.actor.role,
        "second_opened_at": second_opened,
        "confirmed_at": second and second.at.recorded_at,
        "seconds_to_confirm": second and _seconds(second.at.recorded_at - (second_opened or at.recorded_at)),
        "second_rationale": found.confirmed and found.confirmed.rationale,
        "model_name": case.event.model_name,
        "model_version": case.event.model_version,
        "agent": case.entry.by,
        "communicated_at": case.told[0][0].at.recorded_at if case.told else None,
    }
