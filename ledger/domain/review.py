"""Review a case: supervision by a person who neither decided in it nor confirmed. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.domain.history import RecordedEvent
from ledger.errors import InvalidEvent, NotFound, Refused
from schema.events import CaseReviewed, ReviewCase

# The events of people that a reviewer judges, and so has no part in.
JUDGED = frozenset(
    {
        "portfolio.requested",
        "recommendation.decided",
        "recommendation.confirmed",
        "recommendation.communicated",
        "decision.withdrawn",
        "decision.revoked",
        "request.withdrawn",
    }
)


def review(history: Sequence[RecordedEvent], command: ReviewCase, by: str, head: int) -> CaseReviewed:
    """Return the event of a review by the subject `by`. `head` is the newest position of the ledger.

    Raises InvalidEvent, NotFound `request-unknown`, and Refused `same-person` if the subject acted in the case itself.
    """
    if command.disposition == "concern" and command.note is None:
        raise InvalidEvent("note", "required with the disposition concern: say what it is")
    if not history or history[0].type != "portfolio.requested":
        raise NotFound("request-unknown", "there is no such request")
    if not history[0].position <= command.upto <= head:
        raise InvalidEvent("upto", "must be a position from the request on, such as the `as_of` of the case as shown")
    if any(event.type in JUDGED and event.by == by for event in history if event.position <= command.upto):
        raise Refused("same-person", "who has acted in a case does not review it")
    return CaseReviewed(**dict(command))
