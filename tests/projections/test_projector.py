"""The projector wakes on NOTIFY, stops on stop(), survives its connection, and leaves a broken read model behind."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from psycopg import sql

from ledger.background import STOP_S, Failure, running
from ledger.database import Connection
from projections import engine, projector, rebuild
from projections.registry import all_models
from schema.migrate import migrate
from tests.projections.scenes import (
    ANSWERS,
    REQUESTS,
    answer,
    ask,
    assert_true_to_the_chain,
    following,
    head,
    standing,
)
from tests.projections.test_step import WRITE_DOWN_STEPS
from tests.support import connect, eventually, scratch_database

BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '%projector'"
WAITING = BACKENDS + " AND wait_event_type = 'Lock'"
HELPER = BACKENDS.replace("%projector", "%projector helper")
STEP_WAITS = WAITING.replace("%projector", "%projector%")
CANCEL_WAITING = WAITING.replace("SELECT pid", "SELECT pg_cancel_backend(pid)")


def at_head(conn: Connection) -> bool:
    """Return whether both read models have all events."""
    return all(standing(conn, read_model)[0] == head(conn) for read_model in all_models())


def asleep(conn: Connection) -> bool:
    """Return whether the projector waits for notifications."""
    return (
        conn.execute(
            sql.SQL("{} AND state = 'idle' AND state_change < clock_timestamp() - interval '0.1 s'").format(
                sql.SQL(BACKENDS)
            )
        ).fetchall()
        != []
    )


def test_a_notification_wakes_the_projector(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NOTIFY alone brings the read models to the head: the next look without it is an hour away."""
    monkeypatch.setattr(projector, "IDLE_S", 3600.0)
    with following(database_url), connect(database_url) as conn:
        for _ in range(3):
            eventually("the projector waits for news", lambda: asleep(conn))
            ask(conn, 2)
            eventually("all read models are at the head", lambda: at_head(conn))
    assert_true_to_the_chain(database_url)


def test_without_notifications_the_projector_looks_by_itself(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that a notification did not get applied are found after IDLE_S: here, another process died in its step."""
    monkeypatch.setattr(projector, "IDLE_S", 0.5)
    with connect(database_url) as conn, connect(database_url) as other, following(database_url):
        with other.transaction(force_rollback=True):
            other.execute("SELECT FROM projections FOR UPDATE")
            ask(conn)
            eventually("the projector waits for news", lambda: asleep(conn))
            assert not at_head(conn)
        eventually("all read models are at the head", lambda: at_head(conn))


def test_the_projector_stops_at_once(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """stop() does not wait for the next look."""
    monkeypatch.setattr(projector, "IDLE_S", 3600.0)
    with connect(database_url) as conn, following(database_url) as follower:
        eventually("the projector waits for news", lambda: asleep(conn))
        follower.stop()
        assert not follower.is_alive()


def test_the_projector_outlives_its_connection(database_url: str) -> None:
    """After its backend is terminated, the projector connects again and goes on where the last step ended."""
    with connect(database_url) as conn, following(database_url):
        ask(conn, 3)
        eventually("all read models are at the head", lambda: at_head(conn))
        ((pid,),) = conn.execute(BACKENDS).fetchall()
        conn.execute("SELECT pg_terminate_backend(%s)", [pid])
        ask(conn, 3)
        eventually("all read models are at the head", lambda: at_head(conn))
    assert_true_to_the_chain(database_url)


def test_a_helper_goes_on_where_the_projector_waits(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a step of one waits for a lock, the other brings all other read models to the head, and no step is doubled.

    The projector goes on alone if the helper's connection is lost, and the helper connects again.
    """
    monkeypatch.setattr(projector, "HELP_EVENTS", 1)
    others = [read_model for read_model in all_models() if read_model is not REQUESTS]
    with connect(database_url) as conn, connect(database_url) as holder, helped(database_url):
        conn.execute(WRITE_DOWN_STEPS)
        for _ in range(2):
            with holder.transaction():
                holder.execute("LOCK TABLE portfolio_requests")
                answer(conn, ask(conn, 3))
                eventually("a step waits", lambda: conn.execute(STEP_WAITS).fetchall())
                eventually("the others are done", lambda: all(standing(conn, each)[0] == head(conn) for each in others))
                answer(conn, ask(conn, 3))
                eventually("the others move", lambda: all(standing(conn, each)[0] == head(conn) for each in others))
            eventually("all read models are at the head", lambda: at_head(conn))
            conn.execute(HELPER.replace("SELECT pid", "SELECT pg_terminate_backend(pid)"))
            ask(conn, 3)
            eventually("all read models are at the head", lambda: at_head(conn))
            eventually("the helper is back", lambda: conn.execute(HELPER).fetchall())
        for read_model in all_models():
            steps = conn.execute("SELECT after, upto FROM steps WHERE name = %s ORDER BY after", [read_model.name])
            ends = [0, *(upto for _, upto in rows)] if (rows := steps.fetchall()) else []
            assert [after for after, _ in rows] == ends[:-1]
            assert ends[-1] == head(conn)
    assert_true_to_the_chain(database_url)


@contextmanager
def helped(url: str) -> Iterator[None]:
    """Run a projector with its helper while the block runs."""
    helper = projector.Helper(url)
    with running(helper, STOP_S), running(projector.Projector(url, helper=helper), STOP_S):
        yield
    assert not helper.is_alive()


def test_the_projector_waits_for_a_ledger(
    server_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a database without a ledger it logs one warning, and works as soon as there is a ledger."""
    failures: list[Exception] = []
    real_on_failure = projector.Projector.on_failure

    def counted(self: projector.Projector, error: Exception) -> Failure | None:
        failures.append(error)
        return real_on_failure(self, error)

    monkeypatch.setattr(projector.Projector, "on_failure", counted)
    with scratch_database(server_url) as url, connect(url) as conn:
        migrate(conn)  # makes the roles; then the ledger goes again
        conn.execute("DROP SCHEMA ledger CASCADE")
        with following(url):
            eventually("the projector has failed three times", lambda: len(failures) >= 3)
            migrate(conn)
            rebuild.rebuild_outdated(url)
            ask(conn)
            eventually("all read models are at the head", lambda: at_head(conn))
        assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_broken_read_model_stands_still_alone(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A read model whose SQL does not run stops, and says where and why. The others go on, and a rebuild mends it."""
    with connect(database_url) as conn, following(database_url):
        ask(conn, 4)
        eventually("all read models are at the head", lambda: at_head(conn))
        conn.execute("ALTER TABLE portfolio_requests DROP COLUMN notes")
        answer(conn, ask(conn, 4))
        error = eventually("the read model has an error", lambda: standing(conn, REQUESTS)[1])
        eventually("the other read model is at the head", lambda: standing(conn, ANSWERS) == (head(conn), None))
        assert error == "the fold fails after position 4: SyntaxError (SQLSTATE 42601)"
        assert standing(conn, REQUESTS)[0] == 4
        # psycopg may warn of the aborted pipeline as well; the program does not log its warnings.
        ours = [record.levelno for record in caplog.records if not record.name.startswith("psycopg")]
        assert ours == [logging.ERROR]
        (report,) = rebuild.rebuild_outdated(database_url)
        assert (report.name, report.rows) == ("portfolio_requests", 8)
        eventually("all read models are at the head", lambda: at_head(conn))
    assert_true_to_the_chain(database_url)


def test_a_rebuild_in_between_is_not_marked_broken(database_url: str) -> None:
    """A failure that is recorded late, after a rebuild, is not recorded."""
    with connect(database_url) as conn:
        ask(conn)
        conn.execute("ALTER TABLE portfolio_requests DROP COLUMN notes")
        with pytest.raises(engine.StepFailed) as caught:
            engine.step(conn, REQUESTS)
        rebuild.rebuild_read_models(database_url, [REQUESTS])
        projector.mark_failed(conn, REQUESTS, caught.value)
        assert standing(conn, REQUESTS) == (1, None)


def test_an_error_that_repeats_is_logged_once(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """While one read model fails, another one that moves is no news: one line for the error, one for its end."""
    caplog.set_level(logging.INFO)
    with connect(database_url) as conn, following(database_url), connect(database_url) as holder:
        eventually("all read models are at the head", lambda: at_head(conn))
        with holder.transaction():
            holder.execute("LOCK TABLE portfolio_requests")
            for _ in range(3):
                ask(conn)
                eventually("a step waits", lambda: conn.execute(WAITING).fetchall())
                conn.execute(CANCEL_WAITING)
                eventually("another one moves", lambda: standing(conn, ANSWERS)[0] == head(conn))
        eventually("all read models are at the head", lambda: at_head(conn))
        eventually("it says that it works", lambda: "works again" in caplog.text)
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO]
    assert "read model portfolio_requests: QueryCanceled (SQLSTATE 57014)" in caplog.text
