"""The state of one export, from its stream `export-N`: requested, then completed or failed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ledger.domain.history import RecordedEvent
from ledger.errors import InvalidEvent, NotFound
from schema.events import ExportCompleted, ExportFailed, ExportRequest, ExportRequested, ValuesErased
from schema.states import ExportState

CATEGORY = "export-"
ALL = "all"
ENDS = ("position_from", "position_to", "occurred_from", "occurred_to")


@dataclass(frozen=True)
class Export:
    """An export. `requested` has its sealed values if they were read."""

    requested: RecordedEvent
    completed: dict[str, Any] | None = None
    failed: str | None = None
    # True if the client was erased, so that the bundle may not be given to anybody.
    erased: bool = False

    @property
    def state(self) -> ExportState:
        """The state that the read model shows as well."""
        if self.completed is not None:
            return ExportState.COMPLETED
        return ExportState.REQUESTED if self.failed is None else ExportState.FAILED


def stream_of(number: int) -> str:
    """Return the stream of an export."""
    return f"{CATEGORY}{number}"


def fold(history: Iterable[RecordedEvent]) -> Export:
    """Return the state. Raises NotFound `export-unknown`."""
    found: Export | None = None
    for event in history:
        if found is None:
            if event.type == ExportRequested.type:
                found = Export(event)
        elif found.state == ExportState.REQUESTED and event.type == ExportCompleted.type:
            found = Export(found.requested, completed=event.data)
        elif found.state == ExportState.REQUESTED and event.type == ExportFailed.type:
            found = Export(found.requested, failed=str(event.data.get("reason")))
        if found is not None and event.type == ValuesErased.type:
            found = replace(found, erased=True)
    if found is None:
        raise NotFound("export-unknown", "there is no such export")
    return found


def search_filters(data: Mapping[str, Any], text: str | None = None) -> tuple[tuple[str, str], ...]:
    """Return the filters of a search and of its range, from the members of a request, in the form of a bundle.

    `text` are its words, which are sealed in the request.
    """
    found = {**(data.get("search") or {}), **{name: data.get(name) for name in ENDS}, "text": text}
    return tuple(sorted((name, str(value)) for name, value in found.items() if value is not None))


def check_names(body: ExportRequest, known: Collection[str]) -> None:
    """Raise InvalidEvent for the name of a field that no event has sealed, and for "all" beside others."""
    for member in ("disclose", "withhold"):
        names = getattr(body, member) or []
        if ALL in names and (len(names) > 1 or member == "withhold"):
            raise InvalidEvent(member, '"all" stands alone, and only in disclose')
        if any(name not in known and name != ALL for name in names):
            raise InvalidEvent(member, "names a field that no type of event has sealed: GET /schemas lists them")
