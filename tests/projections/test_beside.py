"""Continuous verification also compares read models and the database's objects, and records each difference."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ledger.database import Connection
from ledger.proof.findings import Finding
from ledger.verify.continuous import VerificationConfig
from projections import beside
from projections.beside import CHECKS, compare_read_models
from projections.engine import step
from projections.projector import Projector
from projections.registry import READ_MODELS
from tests.ledger.verify.verifying import fill, recorded, results, until, verifying
from tests.support import append, connect, eventually, failed, new

BESIDE = VerificationConfig(rate=1_000_000, rest_s=0.05, rests=0, settle_s=0, beside=CHECKS)
STRAY = """
    INSERT INTO agents (stream, id, name, suspended, created_at, updated_at)
    VALUES ('agent-x', 99, 'x', false, now(), now())
"""
HIDDEN = """
    DELETE FROM portfolio_requests WHERE id = 7;
    INSERT INTO streams_set_aside (read_model, stream, position, sqlstate)
    VALUES ('portfolio_requests', 'request-7', 7, '22P02')
"""
EDIT = "UPDATE portfolio_requests SET amount_usd = amount_usd + 1 WHERE id = 7"


@pytest.fixture
def filled(database_url: str) -> str:
    """A ledger of thirty requests in all kinds of order, and read models that follow."""
    fill(database_url, 30)
    with connect(database_url) as conn:
        append(conn, *(new(f"request-{number}", failed()) for number in range(1, 31, 3)))
    follow(database_url)
    return database_url


def follow(url: str) -> None:
    """Bring all read models to the head."""
    with connect(url, "projector") as conn:
        for read_model in READ_MODELS:
            while step(conn, read_model) is not None:
                pass


def pieces(url: str) -> list[Finding | None]:
    """All pieces of one comparison of the read models, as the verifier."""
    with connect(url, "verifier") as conn:
        return list(compare_read_models(conn))


@pytest.mark.parametrize("events", [1, 7, 2000])
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (EDIT, "portfolio_requests id 7 differs"),
        ("DELETE FROM portfolio_requests WHERE id = 30", "portfolio_requests id 30 missing"),
        ("UPDATE portfolio_requests SET stream = 'zzz' WHERE id = 4", "portfolio_requests id 4"),
        ("UPDATE portfolio_requests SET stream = '!' WHERE id = 4", "portfolio_requests id 4"),
        (STRAY, "agents id 99 unexpected"),
        (HIDDEN, "the stream 'request-7' is set aside, and can be folded"),
    ],
)
def test_each_changed_row_is_found_in_pieces_of_any_size(
    filled: str, change: str, found: str, events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Edited, deleted, moved and added rows, wherever they are in the order of streams."""
    monkeypatch.setattr(beside, "EVENTS", events)
    assert set(pieces(filled)) == {None}
    with connect(filled) as conn:
        conn.execute(change.encode())
    findings = [str(piece) for piece in pieces(filled) if piece is not None]
    assert any(found in finding for finding in findings), findings


def test_a_read_model_that_lags_is_not_accused(filled: str) -> None:
    """It is compared up to the position that it has reached."""
    fill(filled, 5)
    assert set(pieces(filled)) == {None}


def test_an_edited_read_model_is_recorded_once(filled: str) -> None:
    """It is named within a run, and stays in the status; once it is right again, that is recorded too."""
    with verifying(filled, BESIDE) as verifier:
        until(verifier, lambda now: now.passed_s is not None)
        with connect(filled) as conn:
            conn.execute(EDIT)
        status = until(verifier, lambda now: now.finding)
        assert (status.finding, status.first_bad_position) == ("projection-drift", 0)
        verifier.scans_more()
        assert verifier.status.finding == "projection-drift"
        eventually("the finding is recorded", lambda: results(filled) == ["good", "bad"])
        with connect(filled) as conn:
            conn.execute(EDIT.replace("+ 1", "- 1"))
        until(verifier, lambda now: now.finding is None)
        eventually("the good result is recorded", lambda: results(filled) == ["good", "bad", "good"])
    assert recorded(filled)[1]["data"]["finding"] == "projection-drift"


def test_a_disabled_trigger_is_recorded(filled: str) -> None:
    """Nothing in the chain has changed, and its protection has."""
    with verifying(filled, BESIDE) as verifier:
        until(verifier, lambda now: now.passed_s is not None)
        with connect(filled) as conn:
            conn.execute("ALTER TABLE events DISABLE TRIGGER refuse_change")
        assert until(verifier, lambda now: now.finding).finding == "schema-mismatch"
        with connect(filled) as conn:
            conn.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER refuse_change")
        until(verifier, lambda now: now.finding is None)


def test_the_comment_of_another_version_hides_nothing(filled: str) -> None:
    """It may be an upgrade: then the finding has another name, and an edited read model is still named."""
    with verifying(filled, BESIDE) as verifier:
        until(verifier, lambda now: now.passed_s is not None)
        with connect(filled) as conn:
            conn.execute("COMMENT ON SCHEMA ledger IS 'x'; ALTER TABLE events DISABLE TRIGGER refuse_change")
        assert until(verifier, lambda now: now.finding).finding == "other-version"
        with connect(filled) as conn:
            conn.execute(EDIT)
        until(verifier, lambda now: now.finding == "projection-drift")
        with connect(filled) as conn:
            conn.execute("UPDATE projections SET digest = 'x'")
        until(verifier, lambda now: now.finding == "other-version")
    assert {each["data"].get("finding") for each in recorded(filled)} > {"other-version", "projection-drift"}


def test_live_steps_and_rebuilds_are_not_accused(filled: str) -> None:
    """While events are appended and folded, no comparison finds a difference."""
    projector = Projector(filled)
    projector.start()
    try:
        with verifying(filled, BESIDE) as verifier:
            for _ in range(20):
                fill(filled, 10)
            verifier.scans_more(5)
            assert verifier.status.finding is None
    finally:
        projector.stop()


def test_a_check_that_fails_accuses_nobody(filled: str) -> None:
    """A program error in a check is a failure of the worker: logged, in its status, and not on record."""

    def broken(_: Connection) -> Iterator[Finding | None]:
        yield None
        raise KeyError

    config = VerificationConfig(rate=1_000_000, rest_s=0.05, rests=0, settle_s=0, beside=(broken,))
    with verifying(filled, config) as verifier:
        assert "KeyError" in (until(verifier, lambda now: now.state == "failing").error or "")
    assert "bad" not in results(filled)
