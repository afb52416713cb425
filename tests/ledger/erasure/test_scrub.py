"""The tables that a scrub writes anew: killed at any step, beside readers, writers and erasures, in many partitions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ledger import short_lock
from ledger.database import Connection
from ledger.erasure import rewrite, statistics
from ledger.erasure.rewrite import CLIENTS, Copy, Part, ScrubFailed, sealed_parts
from ledger.verify.database import verify_chain
from projections import scrub as scrubbing
from projections.objects import changed_objects
from projections.scrub import make_plan, scrub
from schema.events import ErasuresScrubbed
from tests.ledger.backup.test_backup import backed_up, content, restore
from tests.ledger.erasure.test_eraser import BOB, asked, check, opened, state
from tests.projections.scenes import catch_up
from tests.support import append, connect, login_url, new, requested, scratch_database

STEPS = ("making", "filling", "checking", "swapping", "attaching", "rebuilding", "statistics")
SIZE = 8


def quiet(_name: str, _done: int, _total: int) -> None:
    """Report no progress."""


def erased(url: str, words: str = "Gone") -> None:
    """Make a client and erase it."""

    async def run() -> None:
        async with opened(url) as ledger:
            _, erasure = await asked(ledger, url, words)
            await ledger.erasures.confirm(BOB, erasure)

    asyncio.run(run())
    with connect(url) as conn:
        catch_up(conn)


def filled(url: str, number: int = 30) -> None:
    """Append events with sealed values."""
    with connect(url, "writer") as conn:
        for each in range(number):
            append(conn, new("request-", requested(f"client-{each}")))
    with connect(url) as conn:
        catch_up(conn)


def names(url: str) -> list[str]:
    """Return the partitions of the sealed values, in order."""
    with connect(url, "owner") as conn:
        return [part.table for part in sealed_parts(conn)]


def staged(url: str) -> list[str]:
    """Return the tables in the staging schema."""
    query = "SELECT relname FROM pg_class WHERE relnamespace = 'ledger_rebuild'::regnamespace AND relkind = 'r'"
    with connect(url) as conn:
        return [str(name) for (name,) in conn.execute(query)]


def killing(monkeypatch: pytest.MonkeyPatch, url: str, step: str) -> None:
    """End the session of the scrub when it comes to this step."""

    def kill(conn: Connection) -> None:
        with connect(url) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 10000)", [conn.info.backend_pid])

    def dying(method: Callable[..., Any]) -> Callable[..., Any]:
        def run(copy: Copy, *arguments: Any) -> Any:
            kill(copy.conn)
            return method(copy, *arguments)

        return run

    def stop(*_: Any, **__: Any) -> Any:
        raise psycopg.OperationalError("killed")

    methods = {"making": "_make", "filling": "_copy", "checking": "_check", "swapping": "_swap", "attaching": "_attach"}
    if step in methods:
        monkeypatch.setattr(Copy, methods[step], dying(getattr(Copy, methods[step])))
    else:
        monkeypatch.setattr(
            scrubbing, {"rebuilding": "rebuild_read_models", "statistics": "rewrite_statistics"}[step], stop
        )


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_nothing_is_lost(database_url: str, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All tables have the rows that they had, appends go on, and the next scrub does all of it."""
    filled(database_url)
    erased(database_url)
    before = state(database_url)
    killing(monkeypatch, database_url, step)
    with pytest.raises(psycopg.OperationalError):
        scrub(database_url, make_plan(database_url), quiet, size=SIZE)
    monkeypatch.undo()
    assert state(database_url) == before
    check(database_url)
    scrub(database_url, make_plan(database_url), quiet, size=SIZE)
    assert state(database_url) == before
    assert staged(database_url) == ["streams_set_aside"]
    with connect(database_url, "verifier") as conn:
        assert changed_objects(conn) == []
    filled(database_url, 1)
    check(database_url)


def test_partitions_are_cut_and_only_touched_ones_are_written(
    database_url: str, tmp_path: Path, server_url: str
) -> None:
    """Each takes as many positions as the size says, the last one all others; a backup of them is one table again."""
    erased(database_url, "First")
    filled(database_url)
    plan = make_plan(database_url)
    done = scrub(database_url, plan, quiet, size=SIZE)
    with connect(database_url) as conn:
        [(head,)] = conn.execute("SELECT position FROM head").fetchall()
        starts = range(0, head + 1, SIZE)
        assert names(database_url) == [f"sealed_fields_{start}" for start in starts]
        bounds = conn.execute(
            "SELECT tableoid::regclass::text, min(position), max(position) FROM sealed_fields GROUP BY 1"
        ).fetchall()
        files = dict(conn.execute("SELECT relname, relfilenode FROM pg_class WHERE relname ~ '^sealed_fields_[0-9]+$'"))
    for name, first, last in bounds:
        start = int(name.removeprefix("sealed_fields_"))
        assert start <= first <= last < start + SIZE
    assert plan.upto is not None
    event = ErasuresScrubbed(after=0, upto=plan.upto, erasures=1, tables=list(done.tables), bytes=plan.size)
    with connect(database_url, "writer") as conn:
        append(conn, new("scrubs", event))
    assert make_plan(database_url).upto is None
    filled(database_url)
    erased(database_url, "Second")
    plan = make_plan(database_url)
    assert [part.table for part in plan.parts] == [names(database_url)[-1], CLIENTS]
    with connect(database_url) as conn:
        again = dict(conn.execute("SELECT relname, relfilenode FROM pg_class WHERE relname ~ '^sealed_fields_[0-9]+$'"))
    assert again == files
    backed_up(database_url, tmp_path / "file")
    with scratch_database(server_url) as url:
        restore(url, tmp_path / "file")
        assert content(url) == content(database_url)
        assert names(url) == ["sealed_fields_0"]
        with connect(url) as conn:
            assert verify_chain(conn).ok


def test_of_two_scrubs_the_second_names_the_first(database_url: str) -> None:
    """Its plan is of partitions that are cut by then: it changes nothing."""
    filled(database_url)
    erased(database_url)
    plan = make_plan(database_url)
    scrub(database_url, plan, quiet, size=SIZE)
    before = state(database_url)
    with pytest.raises(ScrubFailed, match="another scrub cut the partitions meanwhile: run it again"):
        scrub(database_url, plan, quiet, size=SIZE)
    assert state(database_url) == before
    assert staged(database_url) == ["streams_set_aside"]


def test_all_read_models_are_written_anew(database_url: str) -> None:
    """Those that are computed, too: each has another file afterwards."""
    erased(database_url)
    with connect(database_url) as conn:
        files = "SELECT name, pg_relation_filenode(name::regclass) FROM projections"
        before = dict(conn.execute(files).fetchall())
        done = scrub(database_url, make_plan(database_url), quiet)
        after = dict(conn.execute(files).fetchall())
    assert before.keys() == after.keys() <= {*done.tables}
    assert not {*before.values()} & {*after.values()}


@pytest.mark.parametrize("table", ["sealed_fields", "stream_clients"])
def test_appends_and_reads_go_on_while_a_long_read_keeps_it_waiting(
    database_url: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The swap gives up after milliseconds and tries again, so nobody queues behind it. Nothing is lost."""
    filled(database_url)
    tried, waiting = [0], threading.Event()

    def pause(_seconds: float) -> None:
        tried[0] += 1
        if tried[0] == 3:
            waiting.set()
        threading.Event().wait(0.01)

    monkeypatch.setattr(short_lock, "sleep", pause)
    monkeypatch.setattr(rewrite, "FEW", 2)
    part = Part("sealed_fields_0", 0, None) if table == "sealed_fields" else Part(CLIENTS, 0, None)

    def run() -> None:
        with connect(database_url, "owner") as conn:
            conn.execute("CREATE SCHEMA IF NOT EXISTS ledger_rebuild")
            rewrite.rewrite(conn, "ledger", part, lambda _done, _total: None)

    scrubbing_thread = threading.Thread(target=run)
    with connect(database_url, "reader") as reader, reader.transaction():
        reader.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
        scrubbing_thread.start()
        assert waiting.wait(30)
        with connect(database_url, "writer", lock_timeout="2s") as writer:
            for each in range(10):
                append(writer, new("request-", requested(f"meanwhile-{each}")))
        with connect(database_url, "reader", lock_timeout="2s") as other:
            assert other.execute("SELECT count(*) FROM sealed_fields").fetchall() == [(40,)]
    before = state(database_url)
    scrubbing_thread.join(30)
    assert not scrubbing_thread.is_alive()
    assert state(database_url) == before
    with connect(database_url, "verifier") as conn:
        assert changed_objects(conn) == []


def test_an_erasure_meanwhile_is_not_undone(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy that still has the values is dropped, and the table is copied again."""
    filled(database_url)
    swap, swaps = Copy.swap, [0]

    def late(copy: Copy) -> bool:
        swaps[0] += 1
        if swaps[0] == 1:
            erased(database_url, "Meanwhile")
        return swap(copy)

    monkeypatch.setattr(Copy, "swap", late)
    with connect(database_url, "owner") as conn:
        conn.execute("CREATE SCHEMA IF NOT EXISTS ledger_rebuild")
        rewrite.rewrite(conn, "ledger", Part("sealed_fields_0", 0, None), lambda _done, _total: None)
    assert swaps == [2]
    check(database_url)
    others = iter(range(1000))
    monkeypatch.setattr(rewrite, "_newest_erased", lambda _conn: next(others))
    with connect(database_url, "owner") as conn, pytest.raises(ScrubFailed, match="again and again"):
        rewrite.rewrite(conn, "ledger", Part(CLIENTS, 0, None), lambda _done, _total: None)
    check(database_url)


def test_a_copy_that_lacks_rows_is_not_swapped_in(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the reason, the old table stays."""
    filled(database_url)
    monkeypatch.setattr(Copy, "_copy", lambda *_: 0)
    with connect(database_url, "owner") as conn:
        conn.execute("CREATE SCHEMA IF NOT EXISTS ledger_rebuild")
        with pytest.raises(ScrubFailed, match="copy of sealed_fields_0 has other rows"):
            rewrite.rewrite(conn, "ledger", Part("sealed_fields_0", 0, None), lambda _done, _total: None)
    check(database_url)


def test_statistics_wait_for_transactions_that_see_the_old_ones(database_url: str) -> None:
    """VACUUM FULL would keep rows that they may still see. Which ones is said if they do not end."""
    with connect(database_url) as conn, connect(database_url, "reader") as reader:
        with reader.transaction():
            reader.execute("SELECT 1")
            with pytest.raises(ScrubFailed, match=f"processes {reader.info.backend_pid} do not end"):
                statistics.rewrite_statistics(conn, patience_s=0)
        [before] = conn.execute(statistics.FILE).fetchall()
        statistics.rewrite_statistics(conn)
        assert conn.execute(statistics.FILE).fetchall() != [before]


def test_a_login_that_cannot_do_it_all_does_nothing(database_url: str) -> None:
    """A member of the ledger's owner who does not own the database may not write the statistics anew."""
    erased(database_url)
    with (
        login_url(database_url, member_of="ledger_owner") as url,
        pytest.raises(ScrubFailed, match="owns the database"),
    ):
        make_plan(url)


def test_other_partitions_are_refused(database_url: str) -> None:
    """One of another name, or none at all, is for a person to look at: `verify` names it."""
    with connect(database_url) as conn:
        conn.execute("ALTER TABLE sealed_fields_0 RENAME TO mine")
        with pytest.raises(ScrubFailed, match="run advice-ledger verify"):
            make_plan(database_url)
        conn.execute("ALTER TABLE mine RENAME TO sealed_fields_0")


def test_somebodys_view_on_a_partition_is_named(database_url: str) -> None:
    """It would be lost with the old partition."""
    erased(database_url)
    with connect(database_url) as conn:
        conn.execute("CREATE VIEW mine AS SELECT position FROM sealed_fields_0")
    with pytest.raises(ScrubFailed, match="drop that first"):
        scrub(database_url, make_plan(database_url), quiet)
    check(database_url)
