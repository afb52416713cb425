"""The projector wakes on NOTIFY, stops on stop(), survives its connection, and leaves a broken read model behind."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from psycopg import sql

from ledger.background import Failure
from ledger.database import Connection
from projections import engine, projector, rebuild, registry
from projections.registry import READ_MODELS
from schema.migrate import migrate
from tests.projections.scenes import (
    ANSWERS,
    REQUESTS,
    SECRET,
    Unfoldable,
    answer,
    ask,
    assert_true_to_the_chain,
    edited_copy,
    following,
    head,
    standing,
    table,
)
from tests.support import append, connect, eventually, new, scratch_database

BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '%projector'"
# In the mended fold, an amount that is not a number becomes 0.
CAST = "(request.data->>'amount_usd')::numeric(14, 2)"
MENDED_CAST = (
    "(CASE WHEN request.data->>'amount_usd' ~ '^[0-9.]+$' "
    "THEN request.data->>'amount_usd' ELSE '0' END)::numeric(14, 2)"
)


def at_head(conn: Connection) -> bool:
    """Return whether both read models have all events."""
    return all(standing(conn, read_model)[0] == head(conn) for read_model in READ_MODELS)


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


def break_it(conn: Connection) -> int:
    """Append a history with one event that portfolio_requests cannot fold. Return the event's position."""
    answer(conn, ask(conn, 4))
    (row,) = append(conn, new("request-", Unfoldable(client_id="c")))
    answer(conn, ask(conn, 4))
    return int(row.position)


def test_a_broken_read_model_stands_still_alone(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The read model stops before the event and says which one and why, without its values. The others go on."""
    with connect(database_url) as conn, following(database_url):
        bad = break_it(conn)
        error = eventually("the read model has an error", lambda: standing(conn, REQUESTS)[1])
        eventually("the other read model is at the head", lambda: standing(conn, ANSWERS)[0] == head(conn))
        assert error == f"the fold fails at position {bad}: InvalidTextRepresentation (SQLSTATE 22P02)"
        assert standing(conn, REQUESTS)[0] == bad - 1
        assert len(table(conn, REQUESTS)) == 4
        answer(conn, ask(conn, 2))
        eventually("the other read model is at the head", lambda: standing(conn, ANSWERS) == (head(conn), None))
        assert standing(conn, REQUESTS)[0] == bad - 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert str(bad) in caplog.text
    assert SECRET not in caplog.text + error


def test_a_mended_fold_recovers(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The same fold cannot rebuild a broken read model; a mended fold can, and then it follows again."""
    with connect(database_url) as conn:
        with following(database_url):
            bad = break_it(conn)
            eventually("the read model has an error", lambda: standing(conn, REQUESTS)[1])
        assert rebuild.rebuild_outdated(database_url) == []
        assert "22P02" in caplog.text
        assert standing(conn, REQUESTS)[0] == bad - 1
        mended = (edited_copy(REQUESTS, tmp_path, "fold.sql", CAST, MENDED_CAST), *READ_MODELS[1:])
        monkeypatch.setattr(registry, "READ_MODELS", mended)
        (report,) = rebuild.rebuild_outdated(database_url)
        assert (report.name, report.position, report.rows) == ("portfolio_requests", head(conn), 9)
        with following(database_url):
            ask(conn)
            eventually("all read models are at the head", lambda: at_head(conn))
        assert len(table(conn, REQUESTS)) == 10
    assert SECRET not in caplog.text


@pytest.mark.tampers
def test_a_mended_event_recovers(database_url: str) -> None:
    """When the bad event is gone from the table, the same fold can rebuild, and the read model follows again."""
    with connect(database_url) as conn:
        with following(database_url):
            bad = break_it(conn)
            eventually("the read model has an error", lambda: standing(conn, REQUESTS)[1])
        conn.execute("ALTER TABLE events DISABLE TRIGGER ALL")
        conn.execute("UPDATE events SET body = replace(body, %s, '7.00') WHERE position = %s", [SECRET, bad])
        (report,) = rebuild.rebuild_outdated(database_url)
        assert (report.position, report.rows) == (head(conn), 9)
        with following(database_url):
            ask(conn)
            eventually("all read models are at the head", lambda: at_head(conn))
    assert_true_to_the_chain(database_url)


def test_a_rebuild_in_between_is_not_marked_broken(database_url: str) -> None:
    """A failure that is recorded late, after a rebuild, is not recorded."""
    with connect(database_url) as conn:
        ask(conn)
        append(conn, new("request-", Unfoldable(client_id="c")))
        with pytest.raises(engine.StepFailed) as caught:
            engine.step(conn, REQUESTS)
        engine.step(conn, REQUESTS, 1)
        projector.mark_failed(conn, REQUESTS, caught.value)
        assert standing(conn, REQUESTS) == (1, None)
