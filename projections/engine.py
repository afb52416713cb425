"""One query per read model, wrapped three ways.

`NAME/fold.sql` is a SELECT over the relation `slice`; `NAME/table.sql` makes the table that it fills, and
`NAME/indexes.sql` the table's key and indexes. Whole streams go in, so a row depends on its own stream only, and
folding again what was touched gives what folding everything would:

    live      fold the streams touched by (after, upto], replace their rows          apply(), step()
    rebuild   fold everything into a new table, in parallel by stream                projections/rebuild.py
    as of     fold the events up to a position, for one stream, one client or all    projections/reads.py

What spans streams is a view on such a table: `NAME/views/VIEW.sql` holds its SELECT, and the swap that puts a new table
in place makes it anew.

Plans. A fold runs on tables that may be empty, young or huge when it is planned, so no plan is left to statistics:
`slice` has no joins, those of the folds never loop over each other, and what asks for few streams goes by index.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from schema.events import CATALOGUE

HERE = Path(__file__).parent
Connection = psycopg.Connection[Any]

# At most so many events in one step, so that a step, and the wait of a reader for it, stays short.
STEP_EVENTS = 5000

# For a transaction that folds few streams: through their indexes.
FEW_STREAMS = "SET LOCAL enable_seqscan = off; SET LOCAL enable_nestloop = off; SET LOCAL jit = off"
# And keeps the plan that was made once, perhaps when the tables were empty: it is the only one, so it stays right.
STEP_AFTER_STEP = FEW_STREAMS + "; SET LOCAL plan_cache_mode = force_generic_plan"
# For a transaction that folds everything.
ALL_STREAMS = "SET LOCAL enable_nestloop = off; SET LOCAL jit = off; SET LOCAL work_mem = '128MB'"


def _file(path: Path) -> sql.SQL:
    """The text of one of our own .sql files; what stands in braces is for psycopg.sql."""
    return sql.SQL(path.read_text("utf-8"))


SLICE = _file(HERE / "slice.sql")
UP_TO = sql.SQL("e.position <= %(upto)s")
TOUCHED = sql.SQL("e.stream = ANY (%(streams)s) AND e.position <= %(upto)s")
PART = sql.SQL("e.position <= %(upto)s AND abs(hashtext(e.stream)::bigint) %% %(parts)s = %(part)s")
ONE_STREAM = sql.SQL("e.stream = %(stream)s AND e.position <= %(upto)s")
ONE_CLIENT = sql.SQL(
    "e.stream = ANY (ARRAY(SELECT c.stream FROM stream_clients c WHERE c.client_id = %(client_id)s))"
    " AND e.position <= %(upto)s"
)

TOUCHED_STREAMS = "SELECT DISTINCT stream FROM events WHERE position > %s AND position <= %s"
# Of these types, or of one that says whose the stream is, in a stream that may have had rows before.
TOUCHED_BY = TOUCHED_STREAMS + " AND (type = ANY (%s) OR type = ANY (%s) AND version > 1)"
TYPE_IN_SQL = re.compile(r"'([a-z-]+\.[a-z-]+)'")
OWNING = [found.type for found in CATALOGUE.values() if "client_id" in found.sealed]
LOCK_POSITION = (
    "SELECT p.position, h.position FROM projections p, head h"
    " WHERE p.name = %s AND p.digest = %s AND p.error IS NULL FOR UPDATE OF p SKIP LOCKED"
)
ADVANCE = "UPDATE projections SET position = %s, updated_at = clock_timestamp() WHERE name = %s AND position = %s"


class StepFailed(Exception):
    """The events in (after, upto] could not be applied. The message names position and SQLSTATE, and no values."""

    def __init__(self, read_model: ReadModel, after: int, upto: int, cause: psycopg.Error) -> None:
        super().__init__(f"{read_model.name} at position {after + 1}: {describe_error(cause)}")
        self.after = after
        self.upto = upto
        self.cause = cause


@dataclass(frozen=True)
class ReadModel:
    """A read model: its name, which is its table's, and the folder that its own folder is in."""

    name: str
    home: Path = HERE
    # The types of events that make or change rows; where none are given, all that the fold names.
    made_by: tuple[str, ...] = ()

    @cached_property
    def fold(self) -> sql.SQL:
        """The SELECT over `slice`; its columns are those of the table, in the same order."""
        return _file(self.home / self.name / "fold.sql")

    @cached_property
    def table(self) -> sql.SQL:
        """The statement that creates the table, without its indexes, in the first schema of the search path."""
        return _file(self.home / self.name / "table.sql")

    @cached_property
    def indexes(self) -> sql.SQL:
        """The statements that give a filled table its key and indexes."""
        return _file(self.home / self.name / "indexes.sql")

    @cached_property
    def views(self) -> dict[str, sql.SQL]:
        """The SELECT of each view on the table, by its name, which is the file's."""
        return {path.stem: _file(path) for path in sorted((self.home / self.name / "views").glob("*.sql"))}

    @cached_property
    def types(self) -> list[str]:
        """The types of events that make or change rows, in order."""
        return sorted(set(self.made_by or TYPE_IN_SQL.findall(self.fold.as_string(None))))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the SQL that table and views are made by: another one means that they must be rebuilt."""
        views = (sql.SQL(name) + text for name, text in self.views.items())
        parts = (self.fold, self.table, self.indexes, SLICE, *views)
        return hashlib.sha256("\0".join(part.as_string(None) for part in parts).encode()).hexdigest()

    def rows(self, scope: sql.SQL) -> sql.Composed:
        """A SELECT of the read model's rows, folded from the events in `scope`; takes the scope's parameters."""
        query = sql.SQL("WITH slice AS NOT MATERIALIZED ({}) SELECT * FROM ({}) folded")
        return query.format(SLICE.format(scope=scope), self.fold)

    @cached_property
    def replace_touched(self) -> tuple[str, str]:
        """DELETE and INSERT for the streams touched; the table is found by the search path."""
        name = sql.Identifier(self.name)
        delete = sql.SQL("DELETE FROM {} WHERE stream = ANY (%(streams)s)").format(name)
        insert = sql.SQL("INSERT INTO {} {}").format(name, self.rows(TOUCHED))
        return delete.as_string(None), insert.as_string(None)


READ_MODELS = (
    ReadModel("portfolio_requests"),
    ReadModel("ai_recommendations"),
    ReadModel("decisions", made_by=("recommendation.decided", "recommendation.confirmed")),
    ReadModel("model_calls"),
    ReadModel("agents"),
)


class UnknownReadModel(KeyError):
    """No read model, or view on one, has this name."""


def get_read_model(name: str) -> ReadModel:
    """The read model of this name. Raises UnknownReadModel, saying which there are."""
    for found in READ_MODELS:
        if found.name == name:
            return found
    raise UnknownReadModel(f"no read model {name!r}; there are {', '.join(p.name for p in READ_MODELS)}")


def base_of(view: str) -> ReadModel:
    """The read model that this view is on. Raises UnknownReadModel, saying which views there are."""
    for found in READ_MODELS:
        if view in found.views:
            return found
    names = [name for found in READ_MODELS for name in found.views]
    raise UnknownReadModel(f"no view {view!r}; there are {', '.join(names)}")


def describe_error(error: psycopg.Error) -> str:
    """What happened, without PostgreSQL's own message: that may quote the value that it could not convert."""
    return f"{type(error).__name__} (SQLSTATE {error.sqlstate})"


def apply(conn: Connection, read_model: ReadModel, after: int, upto: int) -> None:
    """Brings the table from `after` to `upto`, in the caller's transaction: folds the touched streams anew."""
    conn.execute(STEP_AFTER_STEP, prepare=False)
    streams = [row[0] for row in conn.execute(TOUCHED_BY, [after, upto, read_model.types, OWNING], prepare=True)]
    if not streams:
        return
    given = {"streams": streams, "upto": upto}
    for statement in read_model.replace_touched:
        conn.execute(statement, given, prepare=True)


def step(conn: Connection, read_model: ReadModel, most: int = STEP_EVENTS) -> int | None:
    """One live step of at most `most` events, exactly once whoever else tries: returns the new position.

    None when there is nothing to do, another process is at it, the table was built by other SQL than this program's, or
    the projection stands still on an error. The row of `projections` is locked meanwhile; a crash leaves table and
    position as they were. `conn` is in autocommit mode. Raises StepFailed where trying again would not help.
    """
    with conn.transaction():
        row = conn.execute(LOCK_POSITION, [read_model.name, read_model.digest], prepare=True).fetchone()
        if row is None or row[0] >= row[1]:
            return None
        after = int(row[0])
        upto = min(int(row[1]), after + most)
        try:
            apply(conn, read_model, after, upto)
        except psycopg.Error as error:
            if is_transient(error):
                raise
            raise StepFailed(read_model, after, upto, error) from None
        moved = conn.execute(ADVANCE, [upto, read_model.name, after], prepare=True)
        assert moved.rowcount == 1, "the row is locked: nobody else can have moved it"
        return upto


def is_transient(error: psycopg.Error) -> bool:
    """Whether the same may go well later: the server stops, is out of space, chose this one of a deadlock, …

    Not so for what the program's limits refuse (class 54), such as a value too long for an index.
    """
    return isinstance(error, psycopg.OperationalError) and not (error.sqlstate or "").startswith("54")
