"""Missing values of a bundle are counted for the erasure that ended their stream, and for no other one."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.proof.bundle.erased import ErasedValues


def body(erasure: Any) -> dict[str, Any]:
    """The body of an event of an erasure."""
    return {"data": {"erasure_id": erasure}}


def test_values_belong_to_the_erasure_that_ends_their_stream() -> None:
    """Two streams of one erasure count together; a stream that nothing ends is unexplained."""
    erased = ErasedValues()
    erased.gone("request-1", 3)
    erased.gone("client-1", 1)
    erased.gone("request-2", 5)
    erased.gone("request-1", 2)
    erased.ends(7, "request-1", "values.erased", body(6))
    erased.ends(8, "client-1", "client.erased", body(6))
    assert erased.by_erasure == {6: (7, 6)}
    assert erased.unexplained == 5
    erased.ends(12, "request-2", "values.erased", body(11))
    assert erased.by_erasure == {6: (7, 6), 11: (12, 5)}
    assert erased.unexplained == 0


@pytest.mark.parametrize("data", [{}, {"data": None}, {"data": []}, body(None), body("6"), body(True), body(6.0)])
def test_a_malformed_event_explains_nothing(data: dict[str, Any]) -> None:
    """Whatever an erasing event has in place of its erasure, the values stay unexplained."""
    erased = ErasedValues()
    erased.gone("request-1", 3)
    erased.ends(7, "request-1", "values.erased", data)
    assert (erased.by_erasure, erased.unexplained) == ({}, 3)


def test_another_event_ends_nothing() -> None:
    """The request of an erasure erases nothing."""
    erased = ErasedValues()
    erased.gone("client-1", 1)
    erased.ends(7, "client-1", "erasure.declined", body(6))
    assert (erased.by_erasure, erased.unexplained) == ({}, 1)
