"""Rename the members of events that name something else of their history: an event, a request, a client, or a state.

In this ledger, these have other positions or numbers. Positions rise in the order of the history, so a search finds
them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ledger.imports.history import CLIENT, REQUEST, BadLine, HistoryEvent


class Kind(StrEnum):
    """The kind of thing that a member names."""

    EVENT = "event"  # the position of an earlier event in the same stream
    PAST = "recommendation or decision"  # the position of an earlier event in any stream
    STATE = "state"  # any position: the state after all events up to there
    REQUEST = "request"  # the number of a request
    CLIENT = "client"  # the number of a client


_ABOUT = {"recommendation_id": Kind.EVENT}
_DECISION = {**_ABOUT, "decision_id": Kind.EVENT}
REFERENCES: Mapping[str, Mapping[str, Kind]] = {
    "portfolio.requested": {"client": Kind.CLIENT},
    "model-call.started": {"as_of": Kind.STATE},
    "recommendation.recorded": {"model_call_id": Kind.EVENT, "supersedes": Kind.EVENT},
    "recommendation.opened": _ABOUT,
    "recommendation.decided": _ABOUT,
    "recommendation.confirmed": _DECISION,
    "recommendation.communicated": _ABOUT,
    "recommendation.replayed": {**_ABOUT, "as_of": Kind.STATE},
    "request.withdrawn": {"replaced_by": Kind.REQUEST},
    "decision.withdrawn": _DECISION,
    "decision.revoked": _DECISION,
    "decision.expired": _DECISION,
    "case.reviewed": {"upto": Kind.STATE},
    "finding.opened": {"decision_id": Kind.EVENT},
    "finding.assigned": {"finding_id": Kind.EVENT},
    "finding.closed": {"finding_id": Kind.EVENT},
    "client.aliased": {"of": Kind.CLIENT},
    "client.merged": {"into": Kind.CLIENT},
    "legal-hold.placed": {"request_id": Kind.REQUEST},
    "legal-hold.released": {"hold_id": Kind.EVENT},
}
# The items that a model call reports as shown, by kind: objects of `kind` and `id`, a number as text.
SHOWN = {"request": Kind.REQUEST, "recommendation": Kind.PAST, "decision": Kind.PAST}
OF_STREAM = {Kind.REQUEST: REQUEST, Kind.CLIENT: CLIENT}

Find = Callable[[Kind, int], int | None]


def names(event: HistoryEvent) -> Iterator[tuple[str, Kind, int]]:
    """Yield the references of an event: member, kind and number. Raises BadLine."""
    for member, kind in REFERENCES.get(event.type, {}).items():
        number = event.data.get(member)
        if number is not None:
            yield member, kind, number
    for one in _shown(event):
        if one.get("kind") in SHOWN:
            yield "shown", SHOWN[one["kind"]], _number(one.get("id"))


def renamed(event: HistoryEvent, find: Find) -> dict[str, Any]:
    """Return the members in clear, with positions and numbers of this ledger. Raises BadLine."""
    data = dict(event.data)
    for member, kind in REFERENCES.get(event.type, {}).items():
        if (number := data.get(member)) is not None:
            data[member] = _found(find, kind, number, member)
    if shown := _shown(event):
        data["shown"] = [
            {**one, "id": str(_found(find, SHOWN[one["kind"]], _number(one["id"]), "shown"))}
            if one["kind"] in SHOWN
            else one
            for one in shown
        ]
    return data


def _shown(event: HistoryEvent) -> list[dict[str, Any]]:
    return (event.data.get("shown") or []) if event.type == "model-call.started" else []


def _number(text: object) -> int:
    if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 17:
        return int(text)
    raise BadLine("shown", "Input should have the number of a request, a recommendation or a decision")


def _found(find: Find, kind: Kind, number: int, member: str) -> int:
    found = find(kind, number)
    if found is None:
        raise BadLine(member, f"there is no {kind} {number} before this line in the history")
    return found


@dataclass
class Places:
    """Map the events of a history to their positions and streams in this ledger.

    It takes 16 bytes for each event, and some 200 for each stream.
    """

    originals: array[int] = field(default_factory=lambda: array("q"))
    positions: array[int] = field(default_factory=lambda: array("q"))
    streams: dict[str, str] = field(default_factory=dict)

    def add(self, original: int, position: int) -> None:
        """Add the next event of the history."""
        self.originals.append(original)
        self.positions.append(position)

    def find(self, kind: Kind, number: int) -> int | None:
        """Return the position or number in this ledger; None if the history does not have it, or not yet."""
        if kind in OF_STREAM:
            found = self.streams.get(f"{OF_STREAM[kind]}{number}")
            return None if found is None else int(found.rpartition("-")[2])
        if kind is Kind.STATE:
            index = bisect_right(self.originals, number) - 1
            if index >= 0:
                return self.positions[index]
            # The state before all imported events: earlier events of the history were known here, or left out.
            return self.positions[0] - 1 or None if self.positions else None
        index = bisect_left(self.originals, number)
        known = index < len(self.originals) and self.originals[index] == number
        return self.positions[index] if known else None
