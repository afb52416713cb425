"""Rebuild: readers never wait and never see half a table, a crash loses nothing, and outdated tables are noticed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ledger import short_lock
from ledger.database import Connection
from projections import registry, swap
from projections.engine import step
from projections.read_model import ReadModel
from projections.rebuild import (
    RebuildFailed,
    RebuildReport,
    outdated_read_models,
    rebuild_outdated,
    rebuild_read_models,
)
from projections.registry import READ_MODELS, all_models
from tests.projections.scenes import (
    ANSWERS,
    REQUESTS,
    answer,
    ask,
    assert_true_to_the_chain,
    catch_up,
    chat,
    edited_copy,
    following,
    head,
    standing,
    swap_in_hand,
    table,
    waits_for_a_lock,
)
from tests.support import connect, eventually

BOTH = [REQUESTS, ANSWERS]
STAGED = (
    "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = 'ledger_rebuild' AND relkind = 'r' AND relname <> 'streams_set_aside'"
)


class Together:
    """Run functions in threads until the block ends; then raise the first of their errors."""

    def __init__(self, *work: Callable[[Callable[[], bool]], None]) -> None:
        self._stopping = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(one,)) for one in work]

    def _run(self, work: Callable[[Callable[[], bool]], None]) -> None:
        try:
            work(self._stopping.is_set)
        except BaseException as error:  # noqa: BLE001 - raised again below
            self._errors.append(error)

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)
        for error in self._errors:
            raise error


def reader(
    url: str, read_model: ReadModel, waits: list[float], *, prepare: bool
) -> Callable[[Callable[[], bool]], None]:
    """Read the whole table again and again: it has every row, from one table, at any time."""
    query = sql.SQL("SELECT count(*), count(DISTINCT id), bool_and(created_at IS NOT NULL) FROM {}")

    def read(stopping: Callable[[], bool]) -> None:
        before = 0
        with connect(url, "reader") as conn:
            while not stopping():
                started = monotonic()
                rows = conn.execute(query.format(sql.Identifier(read_model.name)), prepare=prepare).fetchall()
                waits.append(monotonic() - started)
                ((count, different, whole),) = rows
                assert count >= before > 0 or before == 0
                assert count == different
                assert whole
                before = count

    return read


def claimer(url: str) -> Callable[[Callable[[], bool]], None]:
    """Claim queued requests again and again, as workers do, by a function whose plan names the table."""

    def claim(stopping: Callable[[], bool]) -> None:
        with connect(url, "writer") as conn:
            while not stopping():
                conn.execute("SELECT * FROM claim_requests('w', interval '0', 3)", prepare=True).fetchall()

    return claim


def test_readers_and_writers_go_on(database_url: str) -> None:
    """While both are rebuilt again and again, appends and live steps go on, and no reader fails or misses a row."""
    waits: list[float] = []
    with connect(database_url) as conn:
        ask(conn, 300)
        catch_up(conn)
    readers = [reader(database_url, found, waits, prepare=prepare) for found in BOTH[:1] for prepare in (True, False)]
    with following(database_url):
        with Together(*readers, claimer(database_url), lambda stopping: chat(database_url, stopping)):
            for _ in range(6):
                for report in rebuild_read_models(database_url, BOTH):
                    assert report.differing == 0
        with connect(database_url) as conn:
            eventually(
                "all read models are at the head",
                lambda: all(standing(conn, found) == (head(conn), None) for found in READ_MODELS),
            )
    assert len(waits) > 20
    assert sorted(waits)[len(waits) * 99 // 100] < 1
    assert_true_to_the_chain(database_url)


@pytest.mark.parametrize("prepare", [True, False])
def test_a_read_that_meets_the_swap_gets_the_new_table(
    database_url: str, monkeypatch: pytest.MonkeyPatch, prepare: bool
) -> None:
    """A reader waits for the commit and then finds every row, also by a statement prepared with the old table."""
    counts: list[int] = []
    query = "SELECT count(*) FROM portfolio_requests"
    with connect(database_url) as conn, connect(database_url, "reader") as other:
        ask(conn, 4)
        catch_up(conn)
        other.execute(query, prepare=prepare)
        thread = threading.Thread(target=lambda: counts.extend(*other.execute(query, prepare=prepare).fetchall()))
        with swap_in_hand(database_url, monkeypatch):
            thread.start()
            eventually("a session waits for a lock", lambda: waits_for_a_lock(conn))
        thread.join(20)
    assert counts == [4]


def test_the_projector_stays_away_from_the_swap(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that finds the row locked returns at once, and holds no lock that the swap needs next."""
    with connect(database_url) as conn:
        ask(conn)
        catch_up(conn)
        conn.execute("SET lock_timeout = '1s'")
        with swap_in_hand(database_url, monkeypatch):
            ask(conn)
            assert step(conn, REQUESTS) is None
        assert step(conn, REQUESTS) == 2
        catch_up(conn)
    assert_true_to_the_chain(database_url)


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Return a list that grows with each attempt of a rebuild to swap its table in."""
    attempts: list[None] = []
    real_swap = swap._swap

    def counted(*args: Any, **options: Any) -> None:
        attempts.append(None)
        real_swap(*args, **options)

    monkeypatch.setattr(swap, "_swap", counted)
    return attempts


def test_a_transaction_that_locks_first_reads_the_table_that_it_locked(database_url: str, tries: list[None]) -> None:
    """Under REPEATABLE READ, a table locked before the snapshot is whole and stays, even if it is rebuilt meanwhile."""
    with connect(database_url) as conn, connect(database_url) as other:
        ask(conn, 5)
        catch_up(conn)
        with other.transaction():
            other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            other.execute("LOCK TABLE portfolio_requests IN ACCESS SHARE MODE")
            before = table(other, REQUESTS)
            thread = threading.Thread(target=rebuild_read_models, args=(database_url, [REQUESTS]))
            thread.start()
            eventually("the swap was tried three times", lambda: len(tries) >= 3)
            assert table(other, REQUESTS) == before
        thread.join(20)
        assert not thread.is_alive()
    assert_true_to_the_chain(database_url)


def test_a_long_read_holds_up_the_swap_and_nobody_else(database_url: str, tries: list[None]) -> None:
    """While one reader keeps the table, the rebuild tries and lets go: other readers and live steps get through."""
    waits: list[float] = []
    with connect(database_url) as conn, connect(database_url) as slow, following(database_url):
        ask(conn, 5)
        eventually("the read model has all requests", lambda: len(table(conn, REQUESTS)) == 5)
        with slow.transaction():
            before = table(slow, REQUESTS)
            thread = threading.Thread(target=rebuild_read_models, args=(database_url, [REQUESTS]))
            thread.start()
            with Together(reader(database_url, REQUESTS, waits, prepare=True)):
                for _ in range(3):
                    before_tries, before_reads = len(tries), len(waits)
                    eventually("the swap is tried again", lambda count=before_tries: len(tries) > count)
                    eventually("others read", lambda count=before_reads: len(waits) > count)
                ask(conn)
                eventually("the read model has all requests", lambda: len(table(conn, REQUESTS)) == 6)
            assert thread.is_alive()
            assert table(slow, REQUESTS)[:5] == before
        thread.join(20)
        assert not thread.is_alive()
    assert_true_to_the_chain(database_url)


def test_a_read_without_end_makes_the_rebuild_give_up(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the table is never free, the rebuild says so and leaves nothing but the old table."""
    monkeypatch.setattr(short_lock, "TRIES", 3)
    with connect(database_url) as conn, connect(database_url) as slow:
        ask(conn)
        catch_up(conn)
        with slow.transaction():
            before = table(slow, REQUESTS)
            with pytest.raises(RebuildFailed, match=r"portfolio_requests.*long reads"):
                rebuild_read_models(database_url, BOTH)
        assert table(conn, REQUESTS) == before
        assert conn.execute(STAGED).fetchone() == (0,)
    assert_true_to_the_chain(database_url)


def kill_others(conn: Connection) -> None:
    """Terminate every other backend of this database."""
    conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


@pytest.mark.parametrize(
    ("held", "mode"),
    [("sealed_fields", "ACCESS EXCLUSIVE"), ("portfolio_requests", "ACCESS SHARE"), ("projections", "SHARE")],
    ids=["filling", "swapping", "writing down the position"],
)
def test_a_crash_in_the_middle_leaves_the_old_table(database_url: str, held: str, mode: str) -> None:
    """The same holds if the server ends the connections of a rebuild that waits for a lock."""
    with connect(database_url) as conn, connect(database_url) as holder:
        answer(conn, ask(conn, 6))
        catch_up(conn)
        before = table(conn, REQUESTS)
        errors: list[psycopg.Error] = []

        def run() -> None:
            try:
                rebuild_read_models(database_url, BOTH)
            except psycopg.OperationalError as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        with holder.transaction():
            holder.execute(sql.SQL("LOCK TABLE {} IN {} MODE").format(sql.Identifier(held), sql.SQL(mode)))
            thread.start()
            waiting = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            eventually("the rebuild waits", lambda: conn.execute(waiting).fetchall())
            eventually("no session waits", lambda: conn.execute(waiting).fetchall() == [])
        thread.join(20)
        assert not thread.is_alive()
        assert len(errors) == 1
        assert table(conn, REQUESTS) == before
        assert [report.differing for report in rebuild_read_models(database_url, BOTH)] == [0, 0]
    assert_true_to_the_chain(database_url)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_crash_on_the_way_leaves_the_old_table(database_url: str, stage: int) -> None:
    """If the server ends all connections after any stage, readers keep the old table and the next rebuild works."""
    with connect(database_url) as conn:
        answer(conn, ask(conn, 6))
        catch_up(conn)
        before = [table(conn, read_model) for read_model in BOTH]

        def crash(name: str, done: int, in_all: int) -> None:
            if done == in_all - 3 + stage - 1:
                kill_others(conn)

        with pytest.raises(psycopg.OperationalError):
            rebuild_read_models(database_url, BOTH, on_progress=crash)
        assert [table(conn, read_model) for read_model in BOTH] == before
        assert outdated_read_models(conn) == []
        ask(conn)
        catch_up(conn)
        assert [report.differing for report in rebuild_read_models(database_url, BOTH)] == [0, 0]
    assert_true_to_the_chain(database_url)


def test_an_interrupt_ends_it(database_url: str) -> None:
    """Ctrl-C ends a rebuild soon; the old tables stay, and no half-built table is left."""
    pressed: list[str] = []

    def press(name: str, done: int, in_all: int) -> None:
        if not pressed:
            pressed.append(name)
            signal.raise_signal(signal.SIGINT)

    with connect(database_url) as conn:
        ask(conn)
        catch_up(conn)
        # A shell that starts the tests in the background has them ignore the signal.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                rebuild_read_models(database_url, BOTH, on_progress=press)
        finally:
            signal.signal(signal.SIGINT, before)
        assert conn.execute(STAGED).fetchone() == (0,)
    assert_true_to_the_chain(database_url)


@pytest.mark.parametrize(
    ("file", "old", "edit"),
    [
        ("fold.sql", "request.data->>'risk_profile'", "upper(request.data->>'risk_profile')"),
        ("table.sql", "text           NOT NULL,", "text           NOT NULL CHECK (true),"),
        ("indexes.sql", "(stream)", "(stream, id)"),
    ],
)
def test_edited_sql_is_noticed(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, edit: str
) -> None:
    """A read model whose SQL differs from the SQL that made its table is rebuilt by rebuild_outdated(), once."""
    edited = edited_copy(REQUESTS, tmp_path, file, old, edit)
    with connect(database_url) as conn:
        ask(conn)
        catch_up(conn)
        assert rebuild_outdated(database_url) == []
        monkeypatch.setattr(registry, "READ_MODELS", (edited, *READ_MODELS[1:]))
        assert outdated_read_models(conn) == [edited]
        (report,) = rebuild_outdated(database_url)
        assert (report.name, report.position, report.rows, report.differing) == ("portfolio_requests", 1, 1, None)
        assert rebuild_outdated(database_url) == []
        profile = "BALANCED" if file == "fold.sql" else "balanced"
        assert conn.execute("SELECT risk_profile FROM portfolio_requests").fetchall() == [(profile,)]


@pytest.mark.parametrize(
    "harm",
    ["DROP TABLE portfolio_requests", "DELETE FROM projections", "UPDATE projections SET error = 'it broke'"],
)
def test_what_is_missing_or_stopped_is_noticed(database_url: str, harm: str) -> None:
    """If the table or the row of `projections` is missing, or has an error, rebuild_outdated() rebuilds."""
    with connect(database_url) as conn:
        ask(conn)
        catch_up(conn)
        conn.execute(harm.encode())
        assert REQUESTS in outdated_read_models(conn)
        assert "portfolio_requests" in [report.name for report in rebuild_outdated(database_url)]
    assert_true_to_the_chain(database_url)


def test_wrong_rows_are_counted(database_url: str) -> None:
    """The report counts the rows of the old table that differ from the chain; a table behind the head is not wrong."""
    with connect(database_url) as conn:
        ids = ask(conn, 8)
        catch_up(conn)
        answer(conn, ids[4:])  # not applied yet
        conn.execute("UPDATE portfolio_requests SET amount_usd = 1.00 WHERE id = 1")
        conn.execute("DELETE FROM portfolio_requests WHERE id IN (2, 3)")
        conn.execute("DELETE FROM portfolio_requests WHERE id = 8")  # moved meanwhile, so it is not compared
        requests, answers = rebuild_read_models(database_url, BOTH)
        assert (requests.differing, answers.differing) == (3, 0)
        assert (requests.rows, requests.position) == (8, 12)
        catch_up(conn)
    assert_true_to_the_chain(database_url)


def test_a_table_of_another_shape_is_replaced(database_url: str) -> None:
    """With a column that was added by hand there is nothing to compare with; the new table is as it must be."""
    with connect(database_url) as conn:
        ask(conn)
        catch_up(conn)
        conn.execute("ALTER TABLE portfolio_requests ADD comment text")
        assert [report.differing for report in rebuild_read_models(database_url, BOTH)] == [None, 0]
    assert_true_to_the_chain(database_url)


def test_one_that_fails_keeps_nobody_back(database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A read model whose SQL does not run keeps its old table; the others are rebuilt; no error shows a value."""
    broken = edited_copy(REQUESTS, tmp_path, "fold.sql", "request.sealed->>'client_id'", "request.no_such_column")
    with connect(database_url) as conn:
        ask(conn)
        catch_up(conn)
        before = table(conn, REQUESTS)
        answer(conn, [1])
        with pytest.raises(RebuildFailed, match=r"portfolio_requests: the rebuild failed: UndefinedColumn.*42703"):
            rebuild_read_models(database_url, [broken, ANSWERS])
        assert (table(conn, REQUESTS), standing(conn, ANSWERS)) == (before, (2, None))
        assert conn.execute(STAGED).fetchone() == (0,)
    assert "no_such_column" not in caplog.text


def test_one_that_was_never_built_and_cannot_be_says_so(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """rebuild_outdated() does not raise: the read model is recorded as broken, for /readyz; the others are built."""
    broken = edited_copy(REQUESTS, tmp_path, "fold.sql", "request.sealed->>'client_id'", "request.no_such_column")
    monkeypatch.setattr(registry, "READ_MODELS", (broken, *READ_MODELS[1:]))
    with connect(database_url) as conn:
        ask(conn)
        conn.execute("DROP TABLE portfolio_requests, ai_recommendations")
        conn.execute("DELETE FROM projections WHERE name IN ('portfolio_requests', 'ai_recommendations')")
        assert [report.name for report in rebuild_outdated(database_url)] == ["ai_recommendations"]
        position, error = standing(conn, REQUESTS)
        assert position == 0
        assert error is not None
        assert "42703" in error
        assert outdated_read_models(conn) == [broken]
    assert "portfolio_requests" in caplog.text


def test_a_view_in_the_way_is_named_as_the_reason(database_url: str) -> None:
    """A view by another person on the table cannot move to the new one: the rebuild says so and changes nothing."""
    with connect(database_url) as conn:
        ask(conn)
        catch_up(conn)
        conn.execute("CREATE VIEW mine AS SELECT id FROM portfolio_requests")
        with pytest.raises(RebuildFailed, match="a view or a key depends on its table"):
            rebuild_read_models(database_url, [REQUESTS])
        assert conn.execute("SELECT id FROM mine").fetchall() == [(1,)]
    assert_true_to_the_chain(database_url)


def test_rights_come_with_the_new_table(database_url: str) -> None:
    """Readers and verifiers may read the table, the projector may also fill it, and no role may do more."""
    rebuild_read_models(database_url, BOTH)
    rights = (
        "SELECT grantee, string_agg(privilege_type, ' ' ORDER BY privilege_type)"
        " FROM information_schema.table_privileges"
        " WHERE table_name = 'portfolio_requests' AND grantee <> 'ledger_owner' GROUP BY grantee ORDER BY grantee"
    )
    with connect(database_url) as conn:
        found: list[Any] = conn.execute(rights).fetchall()
    assert found == [
        ("ledger_projector", "DELETE INSERT SELECT"),
        ("ledger_reader", "SELECT"),
        ("ledger_verifier", "SELECT"),
    ]


def test_two_at_once_take_turns(database_url: str) -> None:
    """Rebuilds that start together both succeed, one after the other."""
    with connect(database_url) as conn:
        answer(conn, ask(conn, 5))
        catch_up(conn)
    with Together(*[lambda _: assert_none_differ(rebuild_read_models(database_url, BOTH))] * 3):
        pass
    assert_true_to_the_chain(database_url)


def assert_none_differ(reports: list[RebuildReport]) -> None:
    """Each rebuild found no difference in the table that it replaced."""
    assert [report.differing for report in reports] == [0, 0]


def test_progress_is_told(database_url: str) -> None:
    """The progress of each read model goes up to the last stage, and never backwards."""
    told: list[tuple[str, int, int]] = []
    rebuild_read_models(database_url, BOTH, on_progress=lambda *stage: told.append(stage))
    for read_model in BOTH:
        mine = [(done, in_all) for name, done, in_all in told if name == read_model.name]
        assert [done for done, _ in mine] == list(range(1, mine[-1][1] + 1))


def test_another_ledger_in_the_same_database_is_left_alone(database_url: str) -> None:
    """The schema's name goes into all names: roles, locks, and the schema for new tables."""
    from schema.migrate import migrate

    with connect(database_url) as conn:
        ask(conn)
        catch_up(conn)
        migrate(conn, schema="second")
        assert [report.rows for report in rebuild_outdated(database_url, schema="second")] == [0] * len(all_models())
        assert rebuild_outdated(database_url, schema="second") == []
        assert len(table(conn, REQUESTS)) == 1
        assert conn.execute("SELECT count(*) FROM second.portfolio_requests").fetchone() == (0,)
    assert_true_to_the_chain(database_url)
