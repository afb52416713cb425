"""The read models folded a second time, in plain Python, from the events as they were given to append()."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ledger.store import Recorded
from schema.events import Event, PortfolioRequested, RecommendationRecorded, RequestFailed

REQUEST_COLUMNS = (
    "id",
    "client_id",
    "risk_profile",
    "amount_usd",
    "notes",
    "status",
    "recommendation_id",
    "failure_reason",
)
ANSWER_COLUMNS = ("id", "request_id", "client_id", "recommendation", "model_name", "prompt")


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


def portfolio_requests(history: Iterable[Entry]) -> list[tuple[Any, ...]]:
    """The rows, in order of id, with the columns REQUEST_COLUMNS."""
    rows: dict[int, dict[str, Any]] = {}
    for entry in history:
        event, number = entry.event, entry.request_id
        if number is None:
            continue
        if isinstance(event, PortfolioRequested) and entry.at.version == 1:
            rows[number] = {
                "id": number,
                "client_id": event.client_id,
                "risk_profile": event.risk_profile,
                "amount_usd": event.amount_usd,
                "notes": event.notes,
                "status": "queued",
                "recommendation_id": None,
                "failure_reason": None,
            }
        elif number in rows and isinstance(event, RecommendationRecorded):
            rows[number] |= {"status": "recommended", "recommendation_id": entry.at.position, "failure_reason": None}
        elif number in rows and isinstance(event, RequestFailed):
            rows[number] |= {"status": "failed", "recommendation_id": None, "failure_reason": event.reason}
    return [tuple(rows[number][name] for name in REQUEST_COLUMNS) for number in sorted(rows)]


def ai_recommendations(history: Iterable[Entry], clients: dict[str, str]) -> list[tuple[Any, ...]]:
    """The rows, in order of id, with the columns ANSWER_COLUMNS. `clients`: whose stream it is, known at any time."""
    return [
        (
            entry.at.position,
            entry.request_id,
            clients.get(entry.at.stream),
            entry.event.recommendation,
            entry.event.model_name,
            entry.event.prompt,
        )
        for entry in history
        if isinstance(entry.event, RecommendationRecorded) and entry.request_id is not None
    ]
