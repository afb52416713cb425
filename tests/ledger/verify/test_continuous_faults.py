"""The thread that verifies outlives what goes wrong around it, and in it; and it forgets no finding over that."""

from __future__ import annotations

import time
from typing import Any

import pytest
from psycopg import sql

from ledger.database import Connection
from ledger.store.copy import copy_rows
from ledger.verify import continuous as module
from ledger.verify import ledger_verifier
from ledger.verify.continuous import ContinuousVerification, VerificationConfig
from ledger.verify.database import verify_chain
from tests.ledger.verify.verifying import EDIT, fill, on_record, results, until, verifying
from tests.support import connect, eventually
from tests.tampering import tamper

DAY_S = 86_400


@pytest.mark.tampers
def test_what_lasts_is_recorded_each_day(database_url: str) -> None:
    """A finding that lasts until the next day is recorded in the stream of that day, too."""
    fill(database_url, 20)
    tamper(database_url, EDIT)
    with verifying(database_url) as verifier:
        on_record(database_url, 1)
        verifier._results._clock = lambda: time.time() + DAY_S
        first, second = on_record(database_url, 2)
    assert first["stream"] < second["stream"]
    assert first["data"] == second["data"]


@pytest.mark.tampers
def test_a_finding_outlives_the_connection(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session ends in the check that a finding sets off: it is in the status and on record all the same."""
    ended: list[bool] = []

    def interrupted(conn: Connection, **given: Any) -> Any:
        if not ended:
            ended.append(end(database_url, conn))
        return verify_chain(conn, **given)

    monkeypatch.setattr(module, "verify_chain", interrupted)
    fill(database_url, 20)
    tamper(database_url, EDIT)
    with verifying(database_url) as verifier:
        status = until(verifier, lambda now: now.finding)
        assert (status.finding, status.first_bad_position) == ("edited", 9)
        on_record(database_url, 1)
        until(verifier, lambda now: now.state == "leads" and now.finding == "edited")
    assert ended == [True]
    assert results(database_url) == ["bad"]


def test_a_connection_lost_in_a_piece_is_no_finding(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The round that was half through its piece is given up, and the next one begins at position 1."""
    fill(database_url, 700)
    ended: list[bool] = []

    def interrupted(conn: Connection, query: bytes) -> Any:
        for row in copy_rows(conn, query):
            yield row
            if not ended:
                ended.append(end(database_url, conn))

    monkeypatch.setattr(ledger_verifier, "copy_rows", interrupted)
    with verifying(database_url) as verifier:
        until(verifier, lambda now: now.passed_s is not None)
        on_record(database_url, 1)
    assert ended == [True]
    assert results(database_url) == ["good"]


@pytest.mark.tampers
@pytest.mark.parametrize("body", ["{}", "x", '{"data": 1}'])
def test_what_is_on_record_may_be_unreadable(database_url: str, body: str) -> None:
    """Someone spoils the record of the day: that is a finding as any other, and recorded."""
    fill(database_url, 5)
    with verifying(database_url) as verifier:
        on_record(database_url, 1)
        tamper(database_url, sql.SQL("UPDATE events SET body = {} WHERE position = 6").format(body).as_string())
        assert until(verifier, lambda now: now.finding).first_bad_position == 6
        with connect(database_url) as conn:
            later = 'SELECT 1 FROM events WHERE position > 6 AND body LIKE \'%"finding":"edited"%\''
            until(verifier, lambda _: conn.execute(later).fetchall())


def test_a_fault_of_its_own_is_said_and_is_not_the_end(
    database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The status and the log name it, without what it says, which may be personal; then rounds go on."""
    fill(database_url, 5)

    def broken(*_: object) -> None:
        raise KeyError("Ada Lovelace")

    settings = VerificationConfig(rate=1_000_000, rest_s=1, rests=0, settle_s=0)
    with monkeypatch.context() as patch, verifying(database_url, settings) as verifier:
        patch.setattr(ContinuousVerification, "_finish_scan", broken)
        error = until(verifier, lambda now: now.state == "failing").error or ""
        assert error.startswith("program error: KeyError in broken, line ")
        patch.undo()
        assert until(verifier, lambda now: now.passed_s is not None).error is None
    assert error in caplog.text
    assert "Ada" not in caplog.text


def test_one_process_at_a_time(database_url: str) -> None:
    """A second one follows, and takes over when the first ends."""
    fill(database_url, 5)
    with verifying(database_url) as first:
        until(first, lambda now: now.state == "leads")
        with verifying(database_url) as second:
            until(second, lambda now: now.state == "follows")
            first.stop()
            until(second, lambda now: now.passed_s is not None)


def test_a_leader_that_stands_still(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps its session, as a stopped process does: the follower says so. While it works, there is no such error."""
    monkeypatch.setattr(module, "STALLED_S", 0.5)
    fill(database_url, 5)
    with connect(database_url, "verifier") as leader:
        leads = "SELECT lead_verifying()"
        assert leader.execute(leads).fetchone() == (True,)
        with verifying(database_url) as second:
            error = until(second, lambda now: now.state == "follows" and now.error is not None).error or ""
            assert error.startswith("this process follows, and the one that leads has not worked for")
            monkeypatch.setattr(module, "STALLED_S", 60)
            leader.execute(leads)
            until(second, lambda now: now.state == "follows" and now.error is None)
            leader.close()
            monkeypatch.setattr(module, "BEAT_S", 0)
            until(second, lambda now: now.state == "leads")
            with connect(database_url) as since:
                seen = "SELECT seen FROM leaders WHERE role = 'verifier'"
                [(before,)] = since.execute(seen).fetchall()
                eventually("it says that it works", lambda: since.execute(seen).fetchall() > [(before,)])


def test_it_survives_the_loss_of_its_connection(database_url: str) -> None:
    """Its session ended by somebody, it connects again and goes on."""
    fill(database_url, 5)
    with verifying(database_url) as verifier:
        before = until(verifier, lambda now: now.passed_s is not None).passed_s
        with connect(database_url) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'advice-ledger verifier' AND datname = current_database()"
            )
        until(verifier, lambda now: now.passed_s != before and now.state == "leads")


def test_without_a_ledger_it_waits_for_one(server_url: str) -> None:
    """An unmigrated database is trouble, said in the status, and not the end."""
    with verifying(server_url) as verifier:
        status = until(verifier, lambda now: now.state == "failing")
        assert status.error


def end(url: str, conn: Connection) -> bool:
    """Ends the session of another connection."""
    with connect(url) as other:
        return bool(other.execute("SELECT pg_terminate_backend(%s)", [conn.info.backend_pid]).fetchall()[0][0])
