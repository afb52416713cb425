"""A tampering is recorded once, by whatever name and position later scans give it."""

from __future__ import annotations

import pytest

from ledger.database import conninfo
from ledger.proof.findings import Kind
from ledger.verify.record import Result, Results, repeats, verification_event
from ledger.verify.scan import Scan
from tests.faults.attacks import SET_HEAD
from tests.ledger.verify.verifying import fill, on_record, results, until, verifying
from tests.support import connect
from tests.tampering import tamper

CUT = (
    "DELETE FROM stream_clients WHERE stream IN (SELECT stream FROM events WHERE position > 15 AND version = 1)",
    "DELETE FROM sealed_fields WHERE position > 15",
    "DELETE FROM events WHERE position > 15",
    "UPDATE stream_numbers SET last = 15",
    SET_HEAD,
)


@pytest.mark.tampers
def test_a_history_that_was_set_back_is_recorded_once(database_url: str) -> None:
    """Its first missing position moves on with each event, and it is forked once it is as long as before."""
    fill(database_url, 20)
    with verifying(database_url) as verifier:
        on_record(database_url, 1)
        until(verifier, lambda now: now.position >= 21)
        tamper(database_url, *CUT)
        assert until(verifier, lambda now: now.finding).finding == Kind.ROLLED_BACK
        on_record(database_url, 1)
        for _ in range(4):
            fill(database_url, 2)
            verifier.scans_more(1)
        assert until(verifier, lambda now: now.finding == Kind.FORKED).first_bad_position
        verifier.scans_more()
    with verifying(database_url):
        pass
    assert results(database_url) == ["bad"]
    with connect(database_url) as conn:
        [(last,)] = conn.execute("SELECT position FROM head").fetchall()
    assert last == 15 + 1 + 8


@pytest.mark.tampers
def test_a_good_result_is_of_the_history_that_it_is_recorded_in(database_url: str) -> None:
    """What was set back between the end of a scan and its record gets no record that all of it held."""
    fill(database_url, 20)
    writing = conninfo(database_url, "writer", schema="ledger", application="test")
    with connect(database_url, "verifier") as conn:
        scan = Scan()
        assert scan.take(conn, 100) == 20
        waiting = Results(writing, lambda: 0.0, 0)
        waiting.owe(verification_event(scan.size, 0, 1), scan.link)
        tamper(database_url, *CUT)
        waiting.record_next(conn)
        assert results(database_url) == []
        again = Scan()
        assert again.take(conn, 100) == 15
        waiting.owe(verification_event(again.size, 0, 1), again.link)
        waiting.record_next(conn)
    assert results(database_url) == ["good"]


GOOD: Result = ("good", None, None)


@pytest.mark.parametrize(
    ("known", "new", "repeated"),
    [
        (None, GOOD, False),
        (None, ("bad", "edited", 9), False),
        (GOOD, GOOD, True),
        (GOOD, ("bad", "forked", 9), False),
        (("bad", "forked", 9), GOOD, False),
        (("bad", "edited", 9), ("bad", "edited", 9), True),
        (("bad", "edited", 9), ("bad", "edited", 12), False),
        (("bad", "edited", 9), ("bad", "forked", 9), False),
        (("bad", "rolled-back", 9), ("bad", "rolled-back", 12), True),
        (("bad", "rolled-back", 9), ("bad", "forked", 1), True),
        (("bad", "forked", 9), ("bad", "forked", 1), False),
        (("bad", "forked", 9), ("bad", "truncated", 8), False),
        (("bad", "forked", "9"), ("bad", "forked", 9), False),
        (("bad", "projection-drift", 0), ("bad", "schema-mismatch", 0), False),
    ],
)
def test_a_result_repeats_another(known: Result | None, new: Result, repeated: bool) -> None:
    """The same result does; so does the same other history further on, and nothing at an earlier position."""
    assert repeats(known, new) is repeated
