"""Does a read model's table hold what folding the chain gives? Each row that differs, by id."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

from projections.engine import UP_TO, Connection, Projection

DIFFERENCES = sql.SQL(
    """
    SELECT coalesce(expected.id, actual.id),
           CASE WHEN actual.id IS NULL THEN 'missing' WHEN expected.id IS NULL THEN 'unexpected' ELSE 'differs' END
    FROM ({expected}) expected
    FULL JOIN ({actual}) actual ON actual.id = expected.id
    WHERE expected IS DISTINCT FROM actual
    ORDER BY 1
    """
)


@dataclass(frozen=True)
class RowDifference:
    """A row of `projection` that is `missing`, `unexpected`, or `differs` from what the chain says."""

    projection: str
    id: int
    kind: str


@dataclass(frozen=True)
class ProjectionCheck:
    """What came out for one read model, at the position it had reached."""

    name: str
    position: int
    rows: int
    error: str | None
    differences: tuple[RowDifference, ...]
    truncated: bool


def differences(
    conn: Connection, read_model: Projection, expected: sql.Composable, actual: sql.Composable, given: dict[str, object]
) -> Iterator[RowDifference]:
    """Rows in which the two relations differ, in order of id."""
    query = DIFFERENCES.format(expected=expected, actual=actual)
    for row_id, kind in conn.execute(query, given):
        yield RowDifference(read_model.name, row_id, kind)


def check(conn: Connection, read_model: Projection, *, most: int = 1000) -> ProjectionCheck:
    """Folds the chain again up to the read model's position and compares, in one snapshot. At most `most` differences."""
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        row = conn.execute("SELECT position, error FROM projections WHERE name = %s", [read_model.name]).fetchone()
        if row is None:
            return ProjectionCheck(read_model.name, 0, 0, "it was never built: run advice-ledger rebuild", (), False)
        table = sql.SQL("SELECT * FROM {}").format(sql.Identifier(read_model.name))
        count = conn.execute(sql.SQL("SELECT count(*) FROM ({}) rows").format(table)).fetchone()
        found: list[RowDifference] = []
        for difference in differences(conn, read_model, read_model.rows(UP_TO), table, {"upto": row[0]}):
            if len(found) == most:
                return ProjectionCheck(read_model.name, row[0], count[0] if count else 0, row[1], tuple(found), True)
            found.append(difference)
        return ProjectionCheck(read_model.name, row[0], count[0] if count else 0, row[1], tuple(found), False)
