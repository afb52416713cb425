"""Does a read model's table hold what folding the chain gives? Each row that differs, by id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from ledger.database import Connection
from projections.engine import ALL_STREAMS, TOUCHED_STREAMS
from projections.read_model import UP_TO, ReadModel, sql_file
from projections.swap import Place, exists

DIFFERENCES = sql_file(Path(__file__).with_name("differences.sql"))
# Both tables are in order of id by their keys, so that nothing has to be held or sorted.
BY_KEY = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_sort = off; SET LOCAL enable_nestloop = off"

REBUILD = "run advice-ledger rebuild"


@dataclass(frozen=True)
class RowDifference:
    """A row of `projection` that is `missing`, `unexpected`, or `differs` from what the chain says."""

    projection: str
    id: int
    kind: str


@dataclass(frozen=True)
class ReadModelCheck:
    """What came out for one read model, at the position it had reached."""

    name: str
    position: int
    rows: int
    error: str | None
    differences: tuple[RowDifference, ...]
    truncated: bool


def check(conn: Connection, read_model: ReadModel, *, most: int = 1000) -> ReadModelCheck:
    """Folds the chain again up to the read model's position and compares, in one snapshot; up to `most` differences."""
    try:
        with conn.transaction():
            # A snapshot from before a swap may be older than the new table's rows: so the lock comes first.
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(sql.Identifier(read_model.name)))
            conn.execute(ALL_STREAMS, prepare=False)
            return _check(conn, read_model, most)
    except psycopg.errors.UndefinedTable:
        return _unchecked(read_model, f"it was never built: {REBUILD}")
    except psycopg.errors.DatatypeMismatch:
        return _unchecked(read_model, f"its columns are not those of its fold: {REBUILD}")


def _check(conn: Connection, read_model: ReadModel, most: int) -> ReadModelCheck:
    table = sql.SQL("SELECT * FROM {}").format(sql.Identifier(read_model.name))
    count = sql.SQL(
        "SELECT p.position, p.digest, p.error, (SELECT count(*) FROM ({}) t), h.position"
        " FROM projections p, head h WHERE p.name = %s"
    )
    row = conn.execute(count.format(table), [read_model.name]).fetchone()
    if row is None or row[1] != read_model.digest:
        return _unchecked(read_model, f"it was built by another version: {REBUILD}")
    position, _, error, rows, head = row
    if position > head:
        return _unchecked(read_model, f"it is at position {position}, beyond the last event: {REBUILD}")
    query = DIFFERENCES.format(expected=read_model.rows(UP_TO), actual=table)
    found = conn.execute(query + sql.SQL("LIMIT %(limit)s"), {"upto": position, "limit": most + 1}).fetchall()
    wrong = tuple(RowDifference(read_model.name, row_id, kind) for row_id, kind, _ in found[:most])
    return ReadModelCheck(read_model.name, position, rows, error, wrong, len(found) > most)


def _unchecked(read_model: ReadModel, error: str) -> ReadModelCheck:
    return ReadModelCheck(read_model.name, 0, 0, error, (), False)


def count_differences(conn: Connection, place: Place, read_model: ReadModel, built_upto: int) -> int | None:
    """How many rows the table in use had wrong, by the new one, which is at `built_upto`.

    Streams that moved between the positions of the two are left out. None where there is nothing to compare with: no
    table, or one that was made by other SQL or altered since. The caller keeps other rebuilds out.
    """
    if not exists(conn, place.used):
        return None
    try:
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            conn.execute(BY_KEY, prepare=False)
            found = _disagreeing(conn, place, read_model, built_upto)
    except psycopg.errors.DatatypeMismatch:
        return None
    return found


def _disagreeing(conn: Connection, place: Place, read_model: ReadModel, built_upto: int) -> int | None:
    digest = "SELECT position FROM projections WHERE name = %s AND digest = %s"
    row: tuple[Any, ...] | None = conn.execute(digest, [read_model.name, read_model.digest]).fetchone()
    if row is None:
        return None
    moved = {stream for (stream,) in conn.execute(TOUCHED_STREAMS, sorted((row[0], built_upto)))}
    table = sql.SQL("SELECT * FROM {}")
    query = DIFFERENCES.format(expected=table.format(place.staged), actual=table.format(place.used))
    return sum(1 for *_, stream in conn.execute(query) if stream not in moved)
