"""Compare the table of a read model with the fold of the chain, and name each row that differs, by id.

A stream that was set aside has no rows, and is listed. If it can be folded, the list is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from ledger.database import Connection
from ledger.proof.findings import CHAIN, Finding, Kind
from ledger.store.snapshot import ISOLATION, snapshot_with
from projections import compare_computed
from projections.computed import ComputedModel
from projections.engine import ALL_STREAMS, TOUCHED_STREAMS
from projections.read_model import ONE_STREAM, UP_TO, ReadModel, sql_file
from projections.set_aside import Cause, SetAside, cause_of
from projections.swap import Place, exists

DIFFERENCES = sql_file(Path(__file__).with_name("differences.sql"))
# The primary keys give both tables in the order of `id`, so the comparison need not sort or keep rows.
BY_KEY = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_sort = off; SET LOCAL enable_nestloop = off"

SET_ASIDE = (
    "SELECT read_model, stream, position, sqlstate FROM streams_set_aside WHERE read_model = %s"
    " ORDER BY position LIMIT %s"
)
REQUIRED = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnotnull AND attnum > 0"
# The table's index refuses a value, which the fold alone does not show.
INDEX_LIMIT = "54000"

REBUILD = "run advice-ledger rebuild"


@dataclass(frozen=True)
class RowDifference:
    """A row of the read model that is `missing`, `unexpected`, or `differs` from what the chain gives.

    A computed row `disagrees` with the digest that was recorded when it was first computed.
    """

    projection: str
    id: int
    kind: str


@dataclass(frozen=True)
class ReadModelCheck:
    """The comparison of one read model at its position.

    `error` says why it was not compared, or why the read model is stopped. `truncated` says that there are more
    differences. `set_aside` are streams that the fold cannot take; `foldable` those of them that it can take after all.
    """

    name: str
    position: int
    rows: int
    error: str | None
    differences: tuple[RowDifference, ...]
    truncated: bool
    set_aside: tuple[SetAside, ...] = ()
    foldable: tuple[SetAside, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """A finding for each row that differs: about a read model, so at no position of the chain."""
        wrong = [f"id {difference.id} {difference.kind}" for difference in self.differences]
        wrong += [f"stream {found.stream!r} is set aside, and can be folded" for found in self.foldable]
        return tuple(CHAIN.finding(Kind.PROJECTION_DRIFT, 0, f"{self.name} {what}") for what in wrong)


def check(conn: Connection, read_model: ReadModel, *, most: int = 1000) -> ReadModelCheck:
    """Fold the chain up to the read model's position and compare, in one snapshot. Report up to `most` differences."""
    try:
        with conn.transaction():
            # The lock comes before the snapshot: a snapshot from before a swap would not see the rows of the new table.
            conn.execute(snapshot_with(read_model.name))
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
    differing = _differing(conn, read_model, position, most + 1)
    differences = tuple(RowDifference(read_model.name, row_id, kind) for row_id, kind in differing[:most])
    listed = aside(conn, read_model, most)
    wrongly = foldable(conn, read_model, listed, position)
    return ReadModelCheck(read_model.name, position, rows, error, differences, len(differing) > most, listed, wrongly)


def _differing(conn: Connection, read_model: ReadModel, position: int, most: int) -> list[tuple[int, str]]:
    """Return id and kind of the first rows that differ."""
    if isinstance(read_model, ComputedModel):
        streams = compare_computed.streams_of(conn, read_model, position)
        return list(islice(compare_computed.differences(conn, read_model, streams, position), most))
    table = sql.SQL("SELECT * FROM {}").format(sql.Identifier(read_model.name))
    query = DIFFERENCES.format(expected=read_model.rows(UP_TO), actual=table) + sql.SQL("LIMIT %(limit)s")
    return [(row_id, kind) for row_id, kind, _ in conn.execute(query, {"upto": position, "limit": most})]


def aside(conn: Connection, read_model: ReadModel, most: int) -> tuple[SetAside, ...]:
    """Return the first of the streams that are set aside."""
    return tuple(SetAside(*found) for found in conn.execute(SET_ASIDE, [read_model.name, most]))


def foldable(
    conn: Connection, read_model: ReadModel, listed: tuple[SetAside, ...], position: int
) -> tuple[SetAside, ...]:
    """Return the listed streams that the fold can process, up to a position."""
    return tuple(found for found in listed if _can_be_folded(conn, read_model, found, position))


def _can_be_folded(conn: Connection, read_model: ReadModel, aside: SetAside, upto: int) -> bool:
    """Return True if the fold can process the stream, and its rows satisfy the table's constraints."""
    if aside.sqlstate == INDEX_LIMIT:
        return False
    if isinstance(read_model, ComputedModel):
        return False  # a function can process every stream: it was the table that refused a row
    required = [name for (name,) in conn.execute(REQUIRED, [sql.Identifier(read_model.name).as_string(conn)])]
    try:
        with conn.transaction(), conn.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(read_model.folded(ONE_STREAM), {"stream": aside.stream, "upto": upto}).fetchall()
    except psycopg.Error as error:
        if cause_of(error) is not Cause.DATA:
            raise
        return False
    return all(row[name] is not None for row in rows for name in required)


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
            conn.execute(ISOLATION)
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
