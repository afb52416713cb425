"""Findings of reviewers, in the stream of the request or of the client that they are about. Pure.

    (nothing) --finding.opened--> open --finding.assigned--> open --finding.closed--> closed

A closed finding stays closed. What turns up later is another finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.domain.review import acted_in
from ledger.errors import InvalidEvent, NotFound, Refused, StreamUnreadable
from schema.events import RecommendationDecided
from schema.findings import (
    AssignFinding,
    CloseFinding,
    FindingAssigned,
    FindingClosed,
    FindingOpened,
    OpenCaseFinding,
    OpenFinding,
)


@dataclass(frozen=True)
class Finding:
    """A finding. `id` is the position of the event that opened it."""

    id: int
    assignee: str | None = None
    closed: bool = False


def fold(history: Iterable[RecordedEvent]) -> dict[int, Finding]:
    """Return the findings in a stream, by id, the oldest first. Raises StreamUnreadable."""
    findings: dict[int, Finding] = {}
    for event in history:
        try:
            _apply(findings, event)
        except MALFORMED as error:
            raise StreamUnreadable.at(event.stream, event.position) from error
    return findings


def _apply(findings: dict[int, Finding], event: RecordedEvent) -> None:
    if event.type == FindingOpened.type:
        findings[event.position] = Finding(event.position)
    elif event.type in {FindingAssigned.type, FindingClosed.type}:
        finding = findings.get(int(event.data["finding_id"]))
        if finding is not None and event.type == FindingClosed.type:
            findings[finding.id] = replace(finding, closed=True)
        elif finding is not None:
            findings[finding.id] = replace(finding, assignee=str(event.data["assignee"]))


def open_in_case(history: Sequence[RecordedEvent], command: OpenCaseFinding) -> FindingOpened:
    """Return the event that opens a finding about a case. Raises NotFound `request-unknown`, `decision-unknown`."""
    if not history or history[0].type != "portfolio.requested":
        raise NotFound("request-unknown", "there is no such request")
    decisions = {event.position for event in history if event.type == RecommendationDecided.type}
    if command.decision_id is not None and command.decision_id not in decisions:
        raise NotFound("decision-unknown", "this case has no such decision")
    return FindingOpened(**dict(command))


def open_of_client(command: OpenFinding) -> FindingOpened:
    """Return the event that opens a finding about a client."""
    return FindingOpened(**dict(command))


def assign(history: Iterable[RecordedEvent], finding_id: int, command: AssignFinding) -> FindingAssigned:
    """Return the event that assigns a finding.

    Raises NotFound `finding-unknown`, Refused `finding-closed`, `already-assigned`.
    """
    finding = _open(history, finding_id)
    if finding.assignee == command.assignee:
        raise Refused("already-assigned", "this subject sees to the finding already")
    return FindingAssigned(finding_id=finding_id, **dict(command))


def close(history: Sequence[RecordedEvent], finding_id: int, command: CloseFinding, by: str) -> FindingClosed:
    """Return the event that closes a finding.

    Raises NotFound `finding-unknown`, Refused `finding-closed`, and `same-person` if the subject acted in the case.
    """
    _open(history, finding_id)
    if by in acted_in(history):
        raise Refused("same-person", "who has acted in a case closes no finding about it")
    return FindingClosed(finding_id=finding_id, **dict(command))


def check_assignee(name: str, kind: str | None, *, suspended: bool) -> None:
    """Raise InvalidEvent unless a finding can be assigned to this subject: a person who is not suspended."""
    if kind != "human" or suspended:
        raise InvalidEvent("assignee", f"{name} must be a person who is registered and not suspended")


def _open(history: Iterable[RecordedEvent], finding_id: int) -> Finding:
    findings = fold(history)
    if finding_id not in findings:
        raise NotFound("finding-unknown", "there is no such finding")
    if findings[finding_id].closed:
        raise Refused("finding-closed", "this finding is closed for good: open another one")
    return findings[finding_id]
