"""The views on decisions equal a plain computation. A rebuild makes them anew, and does not touch other views."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import psycopg
import pytest
from psycopg import sql

from ledger import short_lock
from ledger.database import Connection, conninfo
from projections import registry, reports
from projections.rebuild import RebuildFailed, outdated_read_models, rebuild_outdated, rebuild_read_models
from projections.registry import READ_MODELS
from tests.projections.naive_views import NAIVE, Row
from tests.projections.scenes import (
    DECISIONS,
    assert_true_to_the_chain,
    catch_up,
    decided,
    edited_copy,
    tell_everything,
)
from tests.support import append, connect, new

MODELS = (("m1", "1"), ("m1", "2"), ("m1", None), ("m2", "1"))
REASONS = (
    ("too-risky", "model-wrong"),
    ("moved-abroad", "model-could-not-know"),
    ("gone", "no-longer-needed"),
    (None, None),
)


def made_up(count: int, seed: int) -> list[Row]:
    """Draw rows of three people over four months, with times that a real ledger would take long to get."""
    drawn = Random(seed)
    rows = []
    for number in range(count):
        model, version = drawn.choice(MODELS)
        code, group = drawn.choice(REASONS)
        created_at = datetime(2030, 1, 30, 23, 59, tzinfo=UTC) + timedelta(minutes=drawn.randrange(150_000))
        state = drawn.choice(["effective"] * 3 + ["waiting", "declined", "withdrawn", "revoked", "expired"])
        rows.append(
            {
                "stream": f"request-{number}",
                "id": number,
                "recommendation_id": number,
                "request_id": number,
                "outcome": drawn.choice(["approve"] * 4 + ["edit", "reject", "respond"]),
                "state": state,
                "digest": "",
                "reason_code": code,
                "reason_group": group,
                "decided_by": drawn.choice(["ann", "bob", "cyd"]),
                "decided_role": "advisor",
                "opened_at": drawn.choice([created_at, None]),
                "created_at": created_at,
                "seconds_to_decide": seconds(drawn),
                "needs_second": True,
                "four_eyes_version": "1",
                "earlier_declines": 0,
                **review_of(drawn, number),
                "model_name": model,
                "model_version": version,
                "agent": drawn.choice(["a", "b"]),
                **confirmation_of(drawn, state, created_at),
            }
        )
    return rows


def review_of(drawn: Random, number: int) -> Row:
    """Draw what supervision has made of a decision."""
    findings = drawn.choice([0, 0, 1, 2])
    supervised = {"samples": drawn.choice([0, 0, 1, 2]), "findings": findings, "open_findings": findings // 2}
    if drawn.random() < 0.5:
        return supervised
    found = {"reviewed_by": drawn.choice(["eve", "flo"]), "disposition": drawn.choice(["no-concern", "concern"])}
    return {**supervised, **found, "review_id": number}


def seconds(drawn: Random) -> Decimal:
    """Draw seconds on both sides of the limit for quick, and exactly on it."""
    return Decimal(drawn.choice([drawn.randrange(10**9), 10_000_000, 10_000_001, 0])) / 1_000_000


def confirmation_of(drawn: Random, state: str, created_at: datetime) -> Row:
    """Draw a confirmation of a decision in this state, in another order than the decisions were made in."""
    if state in {"waiting", "withdrawn", "expired"} or (state == "effective" and drawn.random() < 0.3):
        return {}
    confirmed_at = created_at + timedelta(minutes=drawn.randrange(50_000))
    return {
        "confirmation": "decline" if state == "declined" else "approve",
        "confirmed_by": drawn.choice(["ann", "bob", "dee"]),
        "confirmed_role": "compliance",
        "second_opened_at": drawn.choice([confirmed_at, None]),
        "confirmed_at": confirmed_at,
        "seconds_to_confirm": seconds(drawn),
    }


def put(conn: Connection, rows: list[Row]) -> None:
    """Write rows into the table directly, without events."""
    for row in rows:
        names = sql.SQL(", ").join(map(sql.Identifier, row))
        values = sql.SQL(", ").join([sql.SQL("%s")] * len(row))
        conn.execute(sql.SQL("INSERT INTO decisions ({}) VALUES ({})").format(names, values), [*row.values()])


def read(url: str, view: str, limit: int = 10_000) -> list[Row]:
    """Read as the API does."""

    async def rows() -> list[Row]:
        async with await psycopg.AsyncConnection.connect(conninfo(url, "reader"), autocommit=True) as conn:
            return await reports.read_view(conn, view, limit=limit)

    return asyncio.run(rows())


def in_order(rows: list[Row]) -> list[Row]:
    """Sort by the text of all values, as views and naive twins may order ties differently."""
    return sorted(rows, key=lambda row: repr(sorted(row.items())))


@pytest.mark.parametrize("count", [0, 1, 7, 400])
def test_views_are_what_a_plain_computation_gives(database_url: str, count: int) -> None:
    """Holds for each view. Declined decisions count only for the confirmer who declined them."""
    assert NAIVE.keys() == DECISIONS.views.keys()
    for seed in range(3):
        rows = made_up(count, seed)
        with connect(database_url) as conn:
            conn.execute("DELETE FROM decisions")
            put(conn, rows)
        for name, twin in NAIVE.items():
            assert in_order(read(database_url, name)) == in_order(twin(rows))


def test_only_so_many_rows_are_read(database_url: str) -> None:
    """The newest month comes first, so that a limit cuts off the oldest."""
    with connect(database_url) as conn:
        put(conn, made_up(300, 1))
    for name in ("override_rates", "override_reasons", "decision_times"):
        rows = read(database_url, name)
        months = [row["month"] for row in rows]
        assert months == sorted(months, reverse=True)
        assert read(database_url, name, 2) == rows[:2]


RIGHTS = (
    "SELECT table_name, grantee, privilege_type FROM information_schema.table_privileges"
    " WHERE table_name = ANY (%s) AND grantee <> 'ledger_owner' ORDER BY 1, 2, 3"
)


def test_readers_of_views_go_on_while_it_is_rebuilt(database_url: str) -> None:
    """Through one swap after another, no reader misses a view or a row or waits long, and the rights stay."""
    errors: list[BaseException] = []
    seen: list[int] = []
    stopping = threading.Event()
    with connect(database_url) as conn:
        for _ in range(20):
            tell_everything(conn)
        catch_up(conn)

    def look(*views: str) -> None:
        try:
            with connect(database_url, "reader") as conn:
                while not stopping.is_set():
                    for view in views:
                        query = sql.SQL("SELECT coalesce(sum(decisions), 0) FROM {}").format(sql.Identifier(view))
                        seen.extend(int(count) for (count,) in conn.execute(query, prepare=len(views) > 1))
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    names = ("override_rates", "decision_times", "rubber_stamps")
    threads = [threading.Thread(target=look, args=views) for views in (names, names[:1], names[::-1])]
    for thread in threads:
        thread.start()
    for _ in range(8):
        (report,) = rebuild_read_models(database_url, [DECISIONS])
        assert report.differing == 0
    stopping.set()
    for thread in threads:
        thread.join(20)
    assert errors == []
    assert len(seen) > 20
    assert set(seen) == {20}
    with connect(database_url) as conn:
        found = conn.execute(RIGHTS, [list(DECISIONS.views)]).fetchall()
    assert found == [(name, f"ledger_{role}", "SELECT") for name in DECISIONS.views for role in ("reader", "verifier")]
    assert_true_to_the_chain(database_url)


@pytest.mark.parametrize(("on", "column"), [("decisions", "decided_by"), ("rubber_stamps", "person")])
def test_the_views_of_others_are_left_alone(database_url: str, on: str, column: str) -> None:
    """A view on one of our views also stops the rebuild, which says what is in the way and changes nothing."""
    with connect(database_url) as conn:
        tell_everything(conn)
        catch_up(conn)
        query = sql.SQL("CREATE VIEW mine AS SELECT {} AS who FROM {}")
        conn.execute(query.format(sql.Identifier(column), sql.Identifier(on)))
        with pytest.raises(RebuildFailed, match="a view or a key depends on its table, or on one of its views"):
            rebuild_read_models(database_url, [DECISIONS])
        assert conn.execute("SELECT who FROM mine").fetchall() == [("clerk",)]
        assert [row["approvals"] for row in read(database_url, "rubber_stamps")] == [1]
    assert_true_to_the_chain(database_url)


def test_a_name_that_is_taken_is_told(database_url: str) -> None:
    """A table by another person has the name of a view: it is not touched, and the rebuild says why it failed."""
    with connect(database_url) as conn:
        conn.execute("DROP VIEW rubber_stamps; CREATE TABLE rubber_stamps (mine text)")
        with pytest.raises(RebuildFailed, match="the name of one of its views"):
            rebuild_read_models(database_url, [DECISIONS])
        assert conn.execute("SELECT mine FROM rubber_stamps").fetchall() == []


def test_a_missing_view_is_noticed(database_url: str) -> None:
    """rebuild_outdated() makes it anew, with its table, once."""
    with connect(database_url) as conn:
        conn.execute("DROP VIEW rubber_stamps")
        assert outdated_read_models(conn) == [DECISIONS]
        assert [report.name for report in rebuild_outdated(database_url)] == ["decisions"]
        assert rebuild_outdated(database_url) == []
    assert read(database_url, "rubber_stamps") == []


def test_an_edited_view_is_noticed(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed text changes the digest; a view that the program no longer has is dropped by the next rebuild."""
    edited = edited_copy(DECISIONS, tmp_path, "views/rubber_stamps.sql", "<= 10", "<= 20")
    (edited.folder / "views" / "decision_times.sql").unlink()
    with connect(database_url) as conn:
        monkeypatch.setattr(registry, "READ_MODELS", (*READ_MODELS[:2], edited, *READ_MODELS[3:]))
        assert outdated_read_models(conn) == [edited]
        rebuild_outdated(database_url)
        ((there, gone),) = conn.execute("SELECT to_regclass('rubber_stamps'), to_regclass('decision_times')").fetchall()
        assert (there, gone) == ("rubber_stamps", None)
        ((text,),) = conn.execute("SELECT pg_get_viewdef('rubber_stamps'::regclass)").fetchall()
        assert "<= (20)" in text


def test_a_long_read_of_a_view_holds_up_the_swap_alone(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a transaction holds a view, the rebuild tries and lets go; others read the view, and steps go on."""
    monkeypatch.setattr(short_lock, "TRIES", 8)
    with connect(database_url) as conn, connect(database_url, "reader") as slow:
        recommendation_id = tell_everything(conn)
        catch_up(conn)
        with slow.transaction():
            slow.execute("SELECT FROM rubber_stamps")
            failures: list[RebuildFailed] = []

            def run() -> None:
                try:
                    rebuild_read_models(database_url, [DECISIONS])
                except RebuildFailed as failure:
                    failures.append(failure)

            thread = threading.Thread(target=run)
            thread.start()
            append(conn, new("request-1", decided(recommendation_id, "reject")))
            while thread.is_alive():
                assert len(read(database_url, "rubber_stamps")) == 1
            assert "long reads" in str(failures)
        catch_up(conn)
        assert read(database_url, "rubber_stamps")[0]["decisions"] == 2
    assert_true_to_the_chain(database_url)
