"""The life of a request: which answers it takes, and when."""

from __future__ import annotations

import pytest

from ledger.commands.request import STATUS_AFTER, RequestState, check_answer, fold, stream_of
from ledger.errors import NotFound, Refused
from schema.events import CATALOGUE


@pytest.mark.parametrize(
    ("types", "state"),
    [
        ([], RequestState(None, 0)),
        (["portfolio.requested"], RequestState("queued", 1)),
        (["portfolio.requested", "recommendation.recorded"], RequestState("recommended", 2)),
        (["portfolio.requested", "request.failed"], RequestState("failed", 2)),
        (["portfolio.requested", "note.taken"], RequestState("queued", 2)),
        (["portfolio.requested", "request.failed", "note.taken"], RequestState("failed", 3)),
    ],
)
def test_fold(types: list[str], state: RequestState) -> None:
    """The stream's types, in order, give status and version; types that say nothing of it only count."""
    assert fold(types) == state
    assert fold(iter(types)) == state


def test_a_queued_request_takes_an_answer() -> None:
    """A request that waits lets its answer pass."""
    check_answer(fold(["portfolio.requested"]))


@pytest.mark.parametrize("last", ["recommendation.recorded", "request.failed"])
def test_a_finished_request_takes_none(last: str) -> None:
    """An answered or failed request refuses with the code request-finished, and says what became of it."""
    with pytest.raises(Refused, match=STATUS_AFTER[last]) as caught:
        check_answer(fold(["portfolio.requested", last]))
    assert caught.value.code == "request-finished"
    assert not isinstance(caught.value, NotFound)


def test_an_unknown_request_takes_none() -> None:
    """Where there is no stream, the refusal is NotFound, with the code request-unknown."""
    with pytest.raises(NotFound) as caught:
        check_answer(fold([]))
    assert caught.value.code == "request-unknown"


def test_statuses_follow_from_known_types() -> None:
    """Each type that changes a request's status is in the catalogue."""
    assert STATUS_AFTER.keys() <= CATALOGUE.keys()


def test_streams_are_named_by_number() -> None:
    """Request 7 is the stream request-7."""
    assert stream_of(7) == "request-7"
