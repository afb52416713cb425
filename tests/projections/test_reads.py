"""Reading as of a position gives what the fold of that prefix gives, filtered, the newest first, however it is cut."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from ledger.database import conninfo
from projections import reads
from projections.engine import PROJECTIONS, UP_TO, Projection
from projections.reads import Moment
from tests.projections.scenes import answer, ask, catch_up, head
from tests.support import Connection, connect

FILTERS: list[dict[str, Any]] = [
    {},
    {"client_id": "client-1"},
    {"client_id": "nobody"},
    {"before_id": 12},
    {"client_id": "client-2", "before_id": 12},
]
OF_REQUESTS: list[dict[str, Any]] = [
    {"status": "queued"},
    {"status": "failed", "before_id": 9},
    {"risk_profile": "bold"},
]


def read(url: str, read_model: Projection, filters: dict[str, Any], upto: int, limit: int) -> list[dict[str, Any]]:
    """As the API reads."""

    async def rows() -> list[dict[str, Any]]:
        async with await psycopg.AsyncConnection.connect(conninfo(url, "reader"), autocommit=True) as conn:
            return await reads.rows(conn, read_model, filters, moment=Moment(upto), limit=limit)

    return asyncio.run(rows())


def folded(conn: Connection, read_model: Projection, filters: dict[str, Any], upto: int) -> list[dict[str, Any]]:
    """The same from the fold of everything, filtered here."""
    with conn.cursor(row_factory=dict_row) as cursor:
        query = sql.SQL("SELECT * FROM ({}) m ORDER BY id DESC").format(read_model.rows(UP_TO))
        rows = cursor.execute(query, {"upto": upto}).fetchall()
    below = filters.get("before_id", upto + 1)
    wanted = {name: value for name, value in filters.items() if name != "before_id"}
    kept = [row for row in rows if row["id"] < below and wanted.items() <= row.items()]
    return [{name: value for name, value in row.items() if name != "stream"} for row in kept]


@pytest.mark.parametrize("window", [1, 3, 500])
def test_as_of_is_the_fold_of_the_prefix(database_url: str, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    """For each read model, filter, limit and position, and whatever the windows that streams are folded in."""
    monkeypatch.setattr(reads, "WINDOW_ROWS", window)
    with connect(database_url) as conn:
        for _ in range(3):
            answer(conn, ask(conn, 7)[:5])
        catch_up(conn)
        last = head(conn)
        for read_model in PROJECTIONS:
            own = OF_REQUESTS if read_model is PROJECTIONS[0] else []
            for filters in [*FILTERS, *own]:
                for upto in (0, 3, 11, 17, last - 1, last):
                    expected = folded(conn, read_model, filters, upto)
                    assert read(database_url, read_model, filters, upto, 100) == expected
                    assert read(database_url, read_model, filters, upto, 2) == expected[:2]
