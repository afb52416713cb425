"""One query per read model, wrapped three ways.

`NAME/fold.sql` is a SELECT over the relation `slice`; `NAME/table.sql` makes the table it fills. Whole streams go in,
so a row depends on its own stream only, and folding again what was touched gives what folding everything would:

    live      fold the streams touched by (after, upto], replace their rows          apply(), step()
    rebuild   fold everything into a new table, in parallel by stream                projections/rebuild.py
    as of     fold the events up to a position, for one stream, one client or all    as_of()
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql

HERE = Path(__file__).parent
Connection = psycopg.Connection[Any]

# At most so many events in one step, so that a step, and the wait of a reader for it, stays short.
STEP_EVENTS = 5000


def _file(path: Path) -> sql.SQL:
    """The text of one of our own .sql files; placeholders in braces are for psycopg.sql."""
    return sql.SQL(cast(LiteralString, path.read_text("utf-8")))


SLICE = _file(HERE / "slice.sql")
UP_TO = sql.SQL("e.position <= %(upto)s")
TOUCHED = sql.SQL("e.stream = ANY (%(streams)s) AND e.position <= %(upto)s")
PART = sql.SQL("e.position <= %(upto)s AND abs(hashtext(e.stream)::bigint) %% %(parts)s = %(part)s")
ONE_STREAM = sql.SQL("e.stream = %(stream)s AND e.position <= %(upto)s")
ONE_CLIENT = sql.SQL(
    "e.stream IN (SELECT c.stream FROM stream_clients c WHERE c.client_id = %(client_id)s) AND e.position <= %(upto)s"
)

TOUCHED_STREAMS = "SELECT DISTINCT stream FROM events WHERE position > %s AND position <= %s"
LOCK_POSITION = (
    "SELECT p.position, h.position FROM projections p, head h WHERE p.name = %s AND p.error IS NULL"
    " FOR UPDATE OF p SKIP LOCKED"
)
ADVANCE = "UPDATE projections SET position = %s, updated_at = clock_timestamp() WHERE name = %s AND position = %s"


@dataclass(frozen=True)
class Projection:
    """A read model: its name, which is its table's, and its folder."""

    name: str

    @property
    def folder(self) -> Path:
        """Where its SQL lives."""
        return HERE / self.name

    @cached_property
    def digest(self) -> str:
        """SHA-256 over fold.sql, table.sql and slice.sql: another digest means the table must be rebuilt."""
        parts = (self.folder / "fold.sql", self.folder / "table.sql", HERE / "slice.sql")
        return hashlib.sha256(b"\0".join(part.read_bytes() for part in parts)).hexdigest()

    @property
    def table(self) -> sql.SQL:
        """The statements that create the table and its indexes in the first schema of the search path."""
        return _file(self.folder / "table.sql")

    def rows(self, scope: sql.SQL) -> sql.Composed:
        """A SELECT of the read model's rows, folded from the events in `scope`; takes the scope's parameters."""
        return sql.SQL("WITH slice AS NOT MATERIALIZED ({}) {}").format(
            SLICE.format(scope=scope), _file(self.folder / "fold.sql")
        )

    @cached_property
    def replace_touched(self) -> tuple[str, str]:
        """DELETE and INSERT for the streams touched; the table is found by the search path."""
        name = sql.Identifier(self.name)
        delete = sql.SQL("DELETE FROM {} WHERE stream = ANY (%(streams)s)").format(name)
        insert = sql.SQL("INSERT INTO {} {}").format(name, self.rows(TOUCHED))
        return delete.as_string(None), insert.as_string(None)


PROJECTIONS = (Projection("portfolio_requests"), Projection("ai_recommendations"))


class UnknownProjection(KeyError):
    """No read model has this name."""


def projection(name: str) -> Projection:
    """The read model of this name. Raises UnknownProjection, saying which there are."""
    for found in PROJECTIONS:
        if found.name == name:
            return found
    raise UnknownProjection(f"no read model {name!r}; there are {', '.join(p.name for p in PROJECTIONS)}")


def apply(conn: Connection, read_model: Projection, after: int, upto: int) -> None:
    """Brings the table from `after` to `upto`, in the caller's transaction: folds the touched streams anew."""
    streams = [row[0] for row in conn.execute(TOUCHED_STREAMS, [after, upto], prepare=True)]
    given = {"streams": streams, "upto": upto}
    for statement in read_model.replace_touched:
        conn.execute(cast(LiteralString, statement), given, prepare=True)


def step(conn: Connection, read_model: Projection) -> int | None:
    """One live step, exactly once whoever else tries: returns the new position.

    None when there is nothing to do, another process is at it, or the projection stands still on an error. The row of
    `projections` is locked meanwhile; a crash leaves table and position as they were. `conn` is in autocommit mode.
    """
    with conn.transaction():
        row = conn.execute(LOCK_POSITION, [read_model.name], prepare=True).fetchone()
        if row is None or row[0] >= row[1]:
            return None
        after, upto = row[0], min(row[1], row[0] + STEP_EVENTS)
        apply(conn, read_model, after, upto)
        moved = conn.execute(ADVANCE, [upto, read_model.name, after], prepare=True)
        assert moved.rowcount == 1, "the row is locked: nobody else can have moved it"
        return upto
