"""Review a case: supervision by a person who has not acted in it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ledger.domain.history import RecordedEvent
from ledger.errors import InvalidEvent, NotFound, Refused
from schema.events import CaseReviewed, ReviewCase
from schema.reviews import MOST_CASES, RangeReviewed, ReviewRange

# The acts that a reviewer judges, and so may not have made.
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


def acted_in(history: Iterable[RecordedEvent]) -> frozenset[str]:
    """Return the subjects who acted in a case, or for whom somebody acted, so that they do not review it."""
    return frozenset(
        name for event in history if event.type in JUDGED for name in (event.by, event.on_behalf_of) if name
    )


def review(history: Sequence[RecordedEvent], command: ReviewCase, by: str, head: int) -> CaseReviewed:
    """Return the event of a review by the subject `by`. `head` is the newest position of the ledger.

    Raises InvalidEvent, NotFound `request-unknown`, and Refused `same-person` if the subject acted in the case itself.
    """
    _check_note(command)
    if not history or history[0].type != "portfolio.requested":
        raise NotFound("request-unknown", "there is no such request")
    if not history[0].position <= command.upto <= head:
        raise InvalidEvent("upto", "must be a position from the request on, such as the `as_of` of the case as shown")
    if by in acted_in(event for event in history if _judged(event, command.upto)):
        raise Refused("same-person", "who has acted in a case does not review it")
    return CaseReviewed(**dict(command))


def _judged(event: RecordedEvent, upto: int) -> bool:
    """Return True if a review as of `upto` judges an event. A later event counts if it is about a decision up to
    there.

    Otherwise the confirmer of a decision could review it as of a moment before the confirmation.
    """
    about = event.data.get("decision_id")
    return event.position <= upto or (isinstance(about, int) and about <= upto)


def check_range(command: ReviewRange, *, limited: bool) -> None:
    """Check that client, note and disposition suit the range. Raises InvalidEvent.

    `limited`: the reviewer may review the cases of some clients only.
    """
    if command.client is None and limited:
        raise InvalidEvent("client", "required: you may not review the cases of all clients, so name one that you may")
    if command.client is None and command.note is not None:
        raise InvalidEvent("note", "only with a client: a note about several clients could be erased with none of them")
    if command.client is None and command.disposition == "concern":
        raise InvalidEvent("disposition", "only with a client: what is of concern in one case is said of that case")
    _check_note(command)


def review_range(acted: Mapping[int, frozenset[str]], command: ReviewRange, by: str, upto: int) -> RangeReviewed:
    """Return the event of the review of a range by the subject `by`. `acted` has who acted, by request.

    Raises Refused `range-empty`, `range-too-large`, and `same-person` if the subject acted in a case of the range.
    """
    own = sorted(request_id for request_id, names in acted.items() if by in names)
    cases = sorted(acted.keys() - set(own))
    if own and not command.leave_out_own:
        raise Refused(
            "same-person",
            f"you have acted in {len(own)} of the cases, such as {own[0]}: say leave_out_own, or choose other ones",
            own_cases=len(own),
        )
    if len(acted) > MOST_CASES:
        raise Refused(
            "range-too-large", f"the range has {len(acted)} cases, more than {MOST_CASES}: choose a shorter one"
        )
    if not cases:
        raise Refused(
            "range-empty", "no case of the range can be reviewed by you: choose another period or other filters"
        )
    return RangeReviewed(**dict(command), upto=upto, cases=cases, left_out=own)


def _check_note(command: ReviewCase | ReviewRange) -> None:
    if command.disposition == "concern" and command.note is None:
        raise InvalidEvent("note", "required with the disposition concern: say what it is")
