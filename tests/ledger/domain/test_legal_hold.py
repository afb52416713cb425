"""Which legal holds stand after any history, compared with a naive twin, and which releases are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain import legal_hold
from ledger.errors import NotFound, Refused, StreamUnreadable
from schema.events import LegalHoldPlaced, LegalHoldReleased
from tests.ledger.domain.test_client import recorded


@given(st.lists(st.none() | st.integers(1, 5), max_size=12))
def test_a_hold_stands_until_its_first_release(acts: list[int | None]) -> None:
    """None places a hold, a number releases the event of that version: what no hold has placed changes nothing."""
    events = [
        LegalHoldPlaced(reason="r", request_id=version if version % 2 else None)
        if act is None
        else LegalHoldReleased(reason="r", hold_id=100 + act)
        for version, act in enumerate(acts, 1)
    ]
    history = recorded(1, *events)
    released = {act for version, act in enumerate(acts, 1) if act is not None and act < version}
    placed = {version for version, act in enumerate(acts, 1) if act is None}
    assert {hold.id - 100 for hold in legal_hold.active(history)} == placed - released
    for version in placed:
        hold = legal_hold.fold(history)[100 + version]
        assert hold.request_id == (version if version % 2 else None)
        if hold.released:
            with pytest.raises(Refused, match="released already"):
                legal_hold.check_release(legal_hold.fold(history), hold.id)
        else:
            legal_hold.check_release(legal_hold.fold(history), hold.id)
    with pytest.raises(NotFound):
        legal_hold.check_release(legal_hold.fold(history), 99)


def test_a_release_without_its_hold_is_unreadable() -> None:
    """A body that the service cannot have written says where it is; it is not taken for a hold that stands or ended."""
    [event] = recorded(1, LegalHoldReleased(reason="r", hold_id=1))
    broken = type(event)(event.position, event.id, event.stream, 1, event.type, event.body.replace("hold_id", "x"))
    with pytest.raises(StreamUnreadable):
        legal_hold.fold([broken])
