"""The read models folded a second time, in plain Python, from the events as they were given to append()."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ledger.store import Recorded
from schema.events import Event, PortfolioRequested, RecommendationRecorded, RequestFailed
from tests.support import CLERK

Row = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """An event, and where append() put it."""

    event: Event
    at: Recorded

    @property
    def request_id(self) -> int | None:
        """N where the stream is `request-N`."""
        number = self.at.stream.removeprefix("request-")
        return int(number) if number.isdigit() and self.at.stream != number and number[0] != "0" else None


def portfolio_requests(history: Iterable[Entry]) -> list[Row]:
    """The rows, in order of id."""
    rows: dict[int, Row] = {}
    for entry in history:
        event, number = entry.event, entry.request_id
        if number is None:
            continue
        if isinstance(event, PortfolioRequested) and entry.at.version == 1:
            rows[number] = _asked(number, event, entry.at)
        elif number in rows and isinstance(event, RecommendationRecorded):
            rows[number] |= _unanswered(entry.at) | {"status": "recommended", "recommendation_id": entry.at.position}
        elif number in rows and isinstance(event, RequestFailed):
            told = {"status": "failed", "failure_reason": event.reason, "failure_detail": event.detail}
            rows[number] |= _unanswered(entry.at) | told
    return [rows[number] for number in sorted(rows)]


def _asked(number: int, event: PortfolioRequested, at: Recorded) -> Row:
    limits = event.constraints
    return {
        "stream": at.stream,
        "id": number,
        "client_id": event.client_id,
        "risk_profile": event.risk_profile,
        "amount_usd": event.amount_usd,
        "horizon_years": event.horizon_years,
        "objectives": event.objectives,
        "constraints": None if limits is None else limits.model_dump(mode="json", exclude_none=True),
        "notes": event.notes,
        "requested_by": CLERK.id,
        "created_at": at.recorded_at,
    } | _unanswered(at)


def _unanswered(at: Recorded) -> Row:
    return {
        "status": "queued",
        "recommendation_id": None,
        "failure_reason": None,
        "failure_detail": None,
        "updated_at": at.recorded_at,
    }


def ai_recommendations(history: Iterable[Entry], clients: dict[str, str]) -> list[Row]:
    """The rows, in order of id. `clients`: whose stream it is, known at any time."""
    return [
        {
            "stream": entry.at.stream,
            "id": entry.at.position,
            "request_id": entry.request_id,
            "client_id": clients.get(entry.at.stream),
            "recommendation": entry.event.recommendation,
            "model_name": entry.event.model_name,
            "model_version": entry.event.model_version,
            "parameters": entry.event.parameters,
            "prompt": entry.event.prompt,
            "recorded_by": CLERK.id,
            "created_at": entry.at.recorded_at,
        }
        for entry in history
        if isinstance(entry.event, RecommendationRecorded) and entry.request_id is not None
    ]
