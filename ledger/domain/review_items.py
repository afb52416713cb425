"""The queue of reviews: items of samples, each in the stream of its request. Pure.

(nothing) --review.assigned--> open --case.reviewed, of the decision--> reviewed
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.domain.review import acted_in
from ledger.errors import NotFound, Refused, StreamUnreadable
from schema.events import CaseReviewed
from schema.samples import ReassignReview, ReviewAssigned, ReviewReassigned


@dataclass(frozen=True)
class ReviewItem:
    """An item. `id` is the position of the event that assigned it first."""

    id: int
    decision_id: int
    assignee: str
    due_at: str | None = None
    reviewed: bool = False


def fold(history: Iterable[RecordedEvent]) -> dict[int, ReviewItem]:
    """Return the items in the stream of a request, by id, the oldest first. Raises StreamUnreadable."""
    items: dict[int, ReviewItem] = {}
    for event in history:
        try:
            _apply(items, event)
        except MALFORMED as error:
            raise StreamUnreadable.at(event.stream, event.position) from error
    return items


def _apply(items: dict[int, ReviewItem], event: RecordedEvent) -> None:
    data = event.data
    if event.type == ReviewAssigned.type:
        decision_id = int(data["decision_id"])
        items[event.position] = ReviewItem(event.position, decision_id, str(data["assignee"]), data.get("due_at"))
    elif event.type == ReviewReassigned.type and (item := items.get(int(data["item_id"]))) is not None:
        items[item.id] = replace(item, assignee=str(data["assignee"]), due_at=data.get("due_at") or item.due_at)
    elif event.type == CaseReviewed.type:
        upto = int(data["upto"])
        items |= {one.id: replace(one, reviewed=True) for one in items.values() if one.decision_id <= upto}


def reassign(history: Iterable[RecordedEvent], item_id: int, command: ReassignReview) -> ReviewReassigned:
    """Return the event that gives an item to another subject.

    Raises NotFound `review-item-unknown`, Refused `review-item-closed`, `already-assigned`, `same-person`.
    """
    events = list(history)
    item = _open(fold(events), item_id)
    if (command.assignee, command.due_at or item.due_at) == (item.assignee, item.due_at):
        raise Refused("already-assigned", "this subject is to review it already, until then")
    if command.assignee in acted_in(events):
        raise Refused("same-person", "who has acted in a case does not review it: assign it to somebody else")
    return ReviewReassigned(item_id=item_id, **dict(command))


def _open(items: Mapping[int, ReviewItem], item_id: int) -> ReviewItem:
    if item_id not in items:
        raise NotFound("review-item-unknown", "there is no such item of a sample")
    if items[item_id].reviewed:
        raise Refused("review-item-closed", "this item was reviewed: nobody has to do it any more")
    return items[item_id]
