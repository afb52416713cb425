"""Represent an event of an imported history, or the fault of a line that is not an event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from ledger.store.envelope import Actor
from schema.events import (
    CATALOGUE,
    CaseReviewed,
    ClientAliased,
    ClientAssigned,
    ClientErased,
    ClientMerged,
    ClientRegistered,
    ClientUnassigned,
    DecisionExpired,
    DecisionRevoked,
    DecisionWithdrawn,
    LegalHoldPlaced,
    LegalHoldReleased,
    ModelCallCompleted,
    ModelCallContentJoined,
    ModelCallContentRecorded,
    ModelCallFailed,
    ModelCallStarted,
    PortfolioRequested,
    RecommendationCommunicated,
    RecommendationConfirmed,
    RecommendationDecided,
    RecommendationOpened,
    RecommendationRecorded,
    RecommendationReplayed,
    RequestFailed,
    RequestWithdrawn,
    ValuesErased,
)
from schema.findings import FINDING_EVENTS

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
REQUEST, CLIENT, CONTENT, TRACE = "request-", "client-", "content-", "trace-"
CALLS = (
    ModelCallStarted,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallContentRecorded,
)
# The types that are imported, by the category of their stream. All other types belong to one ledger alone: its
# callers, keys, proofs, accesses and jobs.
IMPORTED: Mapping[str, frozenset[str]] = {
    category: frozenset(kind.type for kind in kinds)
    for category, kinds in {
        REQUEST: (
            PortfolioRequested,
            *CALLS,
            RecommendationRecorded,
            RequestFailed,
            RecommendationOpened,
            RecommendationDecided,
            RecommendationConfirmed,
            RecommendationCommunicated,
            RecommendationReplayed,
            RequestWithdrawn,
            DecisionWithdrawn,
            DecisionRevoked,
            DecisionExpired,
            CaseReviewed,
            *FINDING_EVENTS,
        ),
        CLIENT: (
            ClientRegistered,
            ClientAliased,
            ClientMerged,
            ClientAssigned,
            ClientUnassigned,
            LegalHoldPlaced,
            LegalHoldReleased,
            *FINDING_EVENTS,
        ),
        TRACE: CALLS,
        CONTENT: (ModelCallContentRecorded, ModelCallContentJoined),
    }.items()
}
# The first event of a numbered stream.
FIRST = {REQUEST: {PortfolioRequested.type}, CLIENT: {ClientRegistered.type, ClientAliased.type}}
# A stream with an event of one of these types has no values any more.
ERASED = frozenset({ClientErased.type, ValuesErased.type})


class BadLine(Exception):
    """A line that cannot be imported: the field, and the reason. Neither quotes a value."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """An event as its history has it, with that history's positions, numbers and ids.

    `data` has the members in clear, `values` the sealed ones.
    """

    file: str
    line: int
    id: str
    position: int
    stream: str
    type: str
    occurred_at_us: int
    actor: Actor
    data: dict[str, Any]
    values: dict[str, Any]
    salts: Mapping[str, bytes] = field(default_factory=dict)
    causation: str | None = None
    correlation: str | None = None
    signed: bool = False
    # The approximate number of bytes of its line.
    size: int = 0
    # True if orjson writes the members and values in canonical form: a ledger has recorded the same bytes.
    sorted: bool = False
    # True if the members were read as those of the type.
    typed: bool = False

    @property
    def category(self) -> str:
        """Return the category of the stream, such as `request-`."""
        return self.stream.partition("-")[0] + "-"

    @property
    def is_imported(self) -> bool:
        """Return True if events of this type are imported from streams of this category."""
        return self.type in IMPORTED.get(self.category, ())

    @property
    def schema(self) -> int:
        """Return the version of the type."""
        return CATALOGUE[self.type].schema_version


class Incomplete(BadLine):
    """A sealed value of the event is missing: it was withheld, or erased."""

    def __init__(self, event: HistoryEvent, field: str) -> None:
        super().__init__(field, "the sealed value was withheld or erased: export with all sealed values")
        self.event = event


def derived_id(source: str, original: str) -> UUID:
    """Return the id of an imported event: the same each time (version 8, RFC 9562 section 5.8)."""
    digest = int.from_bytes(sha256(f"advice-ledger/import/v1\n{source}\n{original}".encode()).digest()[:16])
    return UUID(int=(digest & ~(0xF << 76) & ~(0b11 << 62)) | (0x8 << 76) | (0b10 << 62))


def time_text(at_us: int) -> str:
    """Format microseconds since 1970 as RFC 3339 in UTC."""
    return (EPOCH + timedelta(microseconds=at_us)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def microseconds(text: object, name: str) -> int:
    """Return the microseconds since 1970 of a time. Raises BadLine unless it is RFC 3339 with an offset."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise BadLine(name, "Input should be a time with its offset, such as 2024-02-29T09:30:00Z")
    return checked_time((at - EPOCH) // timedelta(microseconds=1), name)


def checked_time(at_us: int, name: str) -> int:
    """Return the time. Raises BadLine if the format cannot represent it."""
    if not -11_676_096_000_000_000 <= at_us < 32_503_680_000_000_000:
        raise BadLine(name, "Input should be a time from the year 1600 to 2999")
    return at_us
