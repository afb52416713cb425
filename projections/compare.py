"""Compares the table of a read model with what folding the chain gives, and names each row that differs, by id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from ledger.database import Connection
from ledger.proof.findings import CHAIN, Finding, Kind
from projections.engine import ALL_STREAMS, TOUCHED_STREAMS
from projections.read_model import UP_TO, ReadModel, sql_file
from projections.swap import Place, exists

DIFFERENCES = sql_file(Path(__file__).with_name("differences.sql"))
# The primary keys give both tables in the order of `id`, so the comparison need not sort or keep rows.
BY_KEY = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_sort = off; SET LOCAL enable_nestloop = off"

REBUILD = "run advice-ledger rebuild"


@dataclass(frozen=True)
class RowDifference:
    """A row of the read model that is `missing`, `unexpected`, or `differs` from what the chain gives."""

    projection: str
    id: int
    kind: str


@dataclass(frozen=True)
class ReadModelCheck:
    """The comparison of one read model at its position.

    `error` says why it was not compared, or why the read model is stopped. `truncated` says that there are more
    differences.
    """

    name: str
    position: int
    rows: int
    error: str | None
    differences: tuple[RowDifference, ...]
    truncated: bool

    @property
    def findings(self) -> tuple[Finding, ...]:
        """A finding for each row that differs: about a read model, so at no position of the chain."""
        return tuple(
            CHAIN.finding(Kind.PROJECTION_DRIFT, 0, f"{self.name} id {difference.id} {difference.kind}")
            for difference in self.differences
        )


def check(conn: Connection, read_model: ReadModel, *, most: int = 1000) -> ReadModelCheck:
    """Fold the chain up to the read model's position and compare, in one snapshot. Report up to `most` differences."""
    try:
        with conn.transaction():
            # The lock comes before the snapshot: a snapshot from before a swap would not see the rows of the new table.
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
        return _unchecked(read_model, f"it was built by another version of the program: {REBUILD}")
    position, _, error, rows, head = row
    if position > head:
        return _unchecked(read_model, f"it is at position {position}, beyond the last event: {REBUILD}")
    query = DIFFERENCES.format(expected=read_model.rows(UP_TO), actual=table)
    differing = conn.execute(query + sql.SQL("LIMIT %(limit)s"), {"upto": position, "limit": most + 1}).fetchall()
    differences = tuple(RowDifference(read_model.name, row_id, kind) for row_id, kind, _ in differing[:most])
    return ReadModelCheck(read_model.name, position, rows, error, differences, len(differing) > most)


def _unchecked(read_model: ReadModel, error: str) -> ReadModelCheck:
    return ReadModelCheck(read_model.name, 0, 0, error, (), False)


def count_differences(conn: Connection, place: Place, read_model: ReadModel, built_upto: int) -> int | None:
    """Return how many rows of the table in use differ from the new table, which is at `built_upto`.

    Streams with events between the positions of the two tables are left out. Returns None if there is no comparable
    table: no table at all, or one that other SQL made, or that was altered since. The caller keeps other rebuilds out.
    """
    if not exists(conn, place.used):
        return None
    try:
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            conn.execute(BY_KEY, prepare=False)
            return _count_differences(conn, place, read_model, built_upto)
    except psycopg.errors.DatatypeMismatch:
        return None


def _count_differences(conn: Connection, place: Place, read_model: ReadModel, built_upto: int) -> int | None:
    digest = "SELECT position FROM projections WHERE name = %s AND digest = %s"
    row: tuple[Any, ...] | None = conn.execute(digest, [read_model.name, read_model.digest]).fetchone()
    if row is None:
        return None
    moved = {stream for (stream,) in conn.execute(TOUCHED_STREAMS, sorted((row[0], built_upto)))}
    table = sql.SQL("SELECT * FROM {}")
    query = DIFFERENCES.format(expected=table.format(place.staged), actual=table.format(place.used))
    return sum(1 for *_, stream in conn.execute(query) if stream not in moved)
