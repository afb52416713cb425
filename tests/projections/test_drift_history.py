"""The computed read model of drift: live, rebuilt, as of and judged again are one; runs' digests prove each row."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ledger.database import Connection
from ledger.service.ledger import Ledger
from projections.beside import compare_read_models
from projections.compare import check
from projections.computed import ComputedModel
from projections.drift_history.model import DRIFT_HISTORY
from projections.engine import step
from projections.erased import read_models_folded_again
from projections.read_model import UP_TO
from projections.rebuild import LAST_STAGES, rebuild_read_models
from schema.events import RecordHoldings
from tests.ledger.service.test_clients import opened
from tests.ledger.service.watching import ANN, OPS, equity, prices, run, watch
from tests.projections.scenes import catch_up
from tests.support import append, connect, failed, new
from tests.tampering import tamper

ROWS = (
    "SELECT stream, position, run, portfolio, condition, turnover, assets::text, agrees FROM drift_history ORDER BY id"
)
OF_P1 = """
    DELETE FROM sealed_fields s USING events e WHERE e.position = s.position AND e.stream ~ '^(portfolio|holdings)-p1$'
"""


def rows(url: str) -> list[tuple[Any, ...]]:
    """Return the rows of the table."""
    with connect(url, "projector") as conn:
        while step(conn, DRIFT_HISTORY) is not None:
            pass
        return conn.execute(ROWS).fetchall()


async def history(ledger: Ledger, url: str) -> list[int]:
    """Judge three days with two corrections; return the rows after each of them."""
    counts = []
    await watch(ledger, ["p1", "p2"])
    await ledger.portfolios.record_prices(OPS, [equity("2026-03-02", "3")])
    await run(ledger, "2026-03-02")
    counts.append(len(rows(url)))
    await ledger.portfolios.record_prices(OPS, [equity("2026-03-03", "6"), equity("2026-03-02", "1")])
    await ledger.portfolios.record_holdings(ANN, "p2", RecordHoldings(as_of="2026-03-03", positions={"EQ": "2"}))
    await run(ledger, "2026-03-03")
    counts.append(len(rows(url)))
    await ledger.portfolios.record_prices(OPS, [prices("2026-03-09", BD="40")])
    await run(ledger, "2026-03-09")
    return [*counts, len(rows(url))]


def test_live_is_rebuilt_is_as_of_is_judged_again(database_url: str) -> None:
    """Corrections change no row of an earlier run; the table as of a position has the runs completed by then."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            assert await history(ledger, database_url) == [2, 4, 6]
            live = rows(database_url)
            assert [(row[2], row[3], row[4]) for row in live] == [
                *((1, name, "ok") for name in ("p1", "p2")),
                *((2, name, "breached") for name in ("p1", "p2")),
                *((3, name, "unknown") for name in ("p1", "p2")),
            ]
            assert all(row[-1] for row in live)
            assert '["EQ","breached","0.060000000000","0.05","0.6","0.660000000000"]' in live[2][6]
            [report] = rebuild_read_models(database_url, [DRIFT_HISTORY])
            assert (report.rows, report.differing, rows(database_url)) == (6, 0, live)
            with connect(database_url, "verifier") as conn:
                assert check(conn, DRIFT_HISTORY).differences == ()
                second = live[2][1]
                found = conn.execute(DRIFT_HISTORY.rows(UP_TO), {"upto": second}).fetchall()
                assert [row[4] for row in found] == [1, 1, 2, 2]

    asyncio.run(work())


@pytest.mark.tampers
def test_a_changed_row_is_named(database_url: str) -> None:
    """verify and continuous verification find a row that was edited, deleted or added; a rebuild mends it."""
    edits = [
        ("UPDATE drift_history SET condition = 'ok' WHERE run = 2 AND portfolio = 'p1'", "differs"),
        ("DELETE FROM drift_history WHERE run = 2 AND portfolio = 'p2'", "missing"),
        ("UPDATE drift_history SET stream = 'monitoring-9' WHERE run = 2 AND portfolio = 'p2'", "unexpected"),
    ]

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await history(ledger, database_url)
            for edit, kind in edits:
                with connect(database_url) as conn:
                    conn.execute(edit)
                with connect(database_url, "verifier") as conn:
                    assert kind in [one.kind for one in check(conn, DRIFT_HISTORY).differences]
                    named = [str(one) for one in compare_read_models(conn) if one is not None]
                    assert named
                    assert all("drift_history" in one for one in named)
                [report] = rebuild_read_models(database_url, [DRIFT_HISTORY])
                assert report.differing

    asyncio.run(work())


@pytest.mark.tampers
def test_a_row_that_its_run_did_not_record_disagrees(database_url: str) -> None:
    """If what a run judged is altered in the chain, the rows do not have its digests, and say so."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await history(ledger, database_url)
            tamper(
                database_url,
                "UPDATE events SET body = replace(body, '\"66\"', '\"67\"') WHERE stream = 'prices-2026-03-03'",
            )
            rebuild_read_models(database_url, [DRIFT_HISTORY])
            assert [(row[2], row[-1]) for row in rows(database_url)] == [
                (1, True),
                (1, True),
                (2, False),
                (2, True),
                (3, True),
                (3, True),
            ]
            with connect(database_url, "verifier") as conn:
                assert [one.kind for one in check(conn, DRIFT_HISTORY).differences] == ["disagrees"]

    asyncio.run(work())


@pytest.mark.tampers
def test_an_erasure_takes_the_rows_whatever_comes_first(database_url: str) -> None:
    """Rows of an erased portfolio go with its values; no later run, step or rebuild makes one."""

    def erase(conn: Connection) -> None:
        with conn.transaction(), read_models_folded_again(conn, ["portfolio-p1", "holdings-p1"]):
            conn.execute("ALTER TABLE sealed_fields DISABLE TRIGGER ALL")
            conn.execute(OF_P1)

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await history(ledger, database_url)
            with connect(database_url) as conn:
                catch_up(conn)
                await ledger.portfolios.record_prices(OPS, [equity("2026-03-10", "1")])
                await run(ledger, "2026-03-10")
                erase(conn)
            left = rows(database_url)
            assert [(row[2], row[3]) for row in left] == [(number, "p2") for number in (1, 2, 3, 4)]
            [report] = rebuild_read_models(database_url, [DRIFT_HISTORY])
            assert (report.differing, rows(database_url)) == (0, left)
            with connect(database_url, "verifier") as conn:
                assert check(conn, DRIFT_HISTORY).differences == ()

    asyncio.run(work())


def test_a_rebuild_that_is_interrupted_is_begun_again(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how far it is, run by run. Until it is done, readers have the old table; the next one gives the same."""
    monkeypatch.setattr(ComputedModel, "streams_at_once", 1)

    class Interrupted(BaseException):
        pass

    def interrupt(_name: str, done: int, total: int) -> None:
        assert total == 3 + LAST_STAGES
        if done == 2:
            raise Interrupted

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await history(ledger, database_url)
            live = rows(database_url)
            with pytest.raises(Interrupted):
                rebuild_read_models(database_url, [DRIFT_HISTORY], on_progress=interrupt)
            assert rows(database_url) == live
            stages: list[int] = []
            [report] = rebuild_read_models(
                database_url, [DRIFT_HISTORY], on_progress=lambda _name, done, _total: stages.append(done)
            )
            assert (report.rows, report.differing, rows(database_url)) == (6, 0, live)
            assert stages == [1, 2, 3, 4, 5, 6]

    asyncio.run(work())


def test_what_no_client_can_have_recorded_makes_no_row(database_url: str) -> None:
    """Events of other types, and runs without a start, in the streams of runs are passed over."""
    with connect(database_url) as conn:
        append(conn, new("monitoring-1", failed()), new("monitoring-x", failed()))
        catch_up(conn)
    assert rows(database_url) == []
