"""Query plans do not depend on the planner's estimates. Here it believes that the tables are empty."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from itertools import product

import pytest
from psycopg import sql

from ledger.database import AsyncConnection, Connection
from projections.client_history import HISTORY
from projections.engine import ALL_STREAMS, FEW_STREAMS, STEP_AFTER_STEP, TO_FOLD, step
from projections.event_search import SEARCH, Search, in_window
from projections.read_model import ONE_CLIENT, ONE_STREAM, UP_TO, ReadModel
from projections.registry import READ_MODELS
from projections.rows import Order
from tests.projections.delivered import deliver
from tests.projections.exported import export
from tests.projections.scenes import (
    assert_true_to_the_chain,
    catch_up,
    hold_and_ask_to_erase,
    register,
    supervise,
    tell_everything,
)
from tests.projections.scenes_monitoring import watch
from tests.projections.test_reads import run
from tests.support import connect

each_read_model = pytest.mark.parametrize("read_model", READ_MODELS, ids=lambda found: found.name)

CONSTANTS = {
    "upto": sql.SQL("5"),
    "after": sql.SQL("0"),
    "streams": sql.SQL("ARRAY['request-1', 'request-2']"),
    "stream": sql.SQL("'request-1'"),
    "client_id": sql.SQL("ARRAY['client-1', 'client-2']"),
    "client_ids": sql.SQL("ARRAY['client-1', 'client-2']"),
    "most": sql.SQL("20"),
}
TOUCHED = TO_FOLD.replace("> %s", "> 0").replace("<= %s", "<= 5").replace("(%s", "(ARRAY['some.type']")

# 20,000 events, of which the last third has other values. Those between are imported: in the order of their times, but
# older.
FILL = """
    INSERT INTO event_index
        (stream, id, version, type, actor, role, model, outcome, created_at, occurred_at, imported_by)
    SELECT 'request-' || n, n, 1, w, w, w, w, w, recorded,
           CASE WHEN old THEN recorded - interval '9 years' ELSE recorded END,
           CASE WHEN old THEN 'cli:olga' END
    FROM generate_series(1, 20000) n,
         LATERAL (SELECT CASE WHEN n > 13200 THEN 'late' ELSE 'early' END) v (w),
         LATERAL (SELECT '2030-01-01Z'::timestamptz + make_interval(secs => n), n BETWEEN 1000 AND %s) r (recorded, old)
"""
# The most times that a fold may name `slice`: each costs a pass over the events.
MOST_PASSES = 5
ORDERS: tuple[Order, ...] = ("newest", "oldest")
# The rows that a page of 51 may look through.
MOST_LOOKED_THROUGH = 300


def plan(conn: Connection, query: sql.Composable) -> str:
    """Return the plan of a query as text, with constants for its parameters."""
    text = query.as_string(conn)
    for name, value in CONSTANTS.items():
        text = text.replace(f"%({name})s", value.as_string(conn))
    return "\n".join(line for (line,) in conn.execute(sql.SQL("EXPLAIN {}").format(sql.SQL(text))))


@each_read_model
@pytest.mark.parametrize("scope", [ONE_STREAM, ONE_CLIENT], ids=["stream", "client"])
def test_few_streams_are_read_through_indexes(database_url: str, read_model: ReadModel, scope: sql.SQL) -> None:
    """A fold as of a position, of one stream or client, scans no table and has no nested loop."""
    with connect(database_url) as conn, conn.transaction():
        conn.execute(FEW_STREAMS)
        found = plan(conn, read_model.rows(scope))
    # One that is about another stream alone reads nothing.
    assert "Index" in found or "One-Time Filter: false" in found
    assert "Seq Scan" not in found
    assert "Nested Loop" not in found


@each_read_model
def test_a_live_step_goes_through_indexes(database_url: str, read_model: ReadModel) -> None:
    """The statements of a step, whose plans last as long as the connection, scan no table and have no nested loop."""
    with connect(database_url) as conn, conn.transaction():
        conn.execute(STEP_AFTER_STEP)
        for statement in (TOUCHED.replace("%s", "'x'"), read_model.delete_touched, read_model.insert_touched):
            found = plan(conn, sql.SQL(statement))
            assert "Seq Scan" not in found
            assert "Nested Loop" not in found
        if read_model.per_event:
            assert "events_pkey" in (found := plan(conn, sql.SQL(read_model.insert_new)))
            assert "Seq Scan" not in found


@each_read_model
def test_a_fold_of_everything_never_loops(database_url: str, read_model: ReadModel) -> None:
    """If few rows are estimated and many exist, only a nested loop would be a disaster."""
    with connect(database_url) as conn, conn.transaction():
        conn.execute(ALL_STREAMS)
        assert "Nested Loop" not in plan(conn, read_model.rows(UP_TO))


def test_histories_are_read_through_indexes(database_url: str) -> None:
    """The history of many clients as of a position scans no table and has no nested loop."""
    with connect(database_url) as conn, conn.transaction():
        conn.execute(FEW_STREAMS)
        found = plan(conn, HISTORY)
    assert "Seq Scan" not in found
    assert "Nested Loop" not in found


def test_events_are_read_as_often_as_a_fold_names_them(database_url: str) -> None:
    """The plan of a fold reads the events no more often than the fold names `slice`, and no fold names it often."""
    with connect(database_url) as conn, conn.transaction():
        conn.execute(ALL_STREAMS)
        for read_model in READ_MODELS:
            named = re.findall(r"(?:FROM|JOIN) slice\b", read_model.fold.as_string(None))
            passes = plan(conn, read_model.rows(UP_TO)).count(" on events e")
            assert 1 <= passes <= len(named) <= MOST_PASSES, read_model.name


FILTERS = ("type", "actor", "role", "model", "outcome")
SEARCHES: list[Mapping[str, object]] = [{}, *({name: value} for name in FILTERS for value in ("early", "late"))]
WINDOWS = [(None, None), (0, 500), (10_000, 10_100), (18_000, 20_001)]


@pytest.mark.tampers
@pytest.mark.parametrize("last_imported", [pytest.param(0, marks=pytest.mark.slow), 16_000])
def test_a_search_takes_the_index_of_what_is_asked_for(database_url: str, last_imported: int) -> None:
    """A page reads some hundred events of 20,000, wherever they are, and also if many are imported.

    So do later ones, in both orders and in any window of time.
    """
    with connect(database_url) as conn:
        conn.execute(FILL % last_imported)
        conn.execute("ANALYZE event_index")
        [(oldest,)] = conn.execute("SELECT min(occurred_at) FROM event_index").fetchall()

    async def explain(conn: AsyncConnection) -> None:
        for filters, window, order in product(SEARCHES, WINDOWS, ORDERS):
            start, end = (None if n is None else oldest + timedelta(seconds=n) for n in window)
            found = {**filters, "upto": 20_000, **await in_window(conn, start, end, 20_000)}
            for beyond in (None, 10_050):
                search = Search(found, order, beyond_id=beyond)
                where, by, given = await search.parts(conn)
                query = sql.SQL("EXPLAIN (ANALYZE, BUFFERS OFF, TIMING OFF) {}").format(SEARCH.format(where, by))
                cursor = await conn.execute(query, {**given, "limit": 51})
                text = "\n".join(line for (line,) in await cursor.fetchall())
                assert looked_through(text) <= MOST_LOOKED_THROUGH, (
                    f"{filters} {window} {order} {beyond} {given}\n{text}"
                )

    run(database_url, explain)


def looked_through(plan_: str) -> int:
    """Return how many rows of the index of events a plan with figures read, those that it left out included."""
    return sum(map(int, re.findall(r"event_index model.*?rows=(\d+)\S* loops", plan_))) + sum(
        map(int, re.findall(r"Removed by Filter: (\d+)", plan_))
    )


def test_a_step_keeps_its_one_plan(database_url: str) -> None:
    """Statements that were prepared on empty tables are not planned again for each step, and stay right."""
    with connect(database_url) as conn, connect(database_url, "projector") as live:
        for number in range(1, 13):
            tell_everything(conn)
            register(conn)
            watch(conn)
            export(conn)
            hold_and_ask_to_erase(conn)
            supervise(conn)
            deliver(conn, number, "desk")
            catch_up(live)
            assert step(live, READ_MODELS[0]) is None
        plans = "SELECT statement, generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE %s"
        found = live.execute(plans, ["%INSERT INTO%"]).fetchall()
        assert len(found) == len(READ_MODELS)
        assert all(generic >= 12 and custom == 0 for _, generic, custom in found)
    assert_true_to_the_chain(database_url)
