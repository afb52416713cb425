"""A read model: one query over the events, wrapped three ways.

Each read model is a folder, `projections/NAME/`:

    fold.sql      a SELECT over the relation `slice`: one row for each thing, folded from whole streams
    table.sql     creates the table that the rows are kept in
    indexes.sql   gives a filled table its key and indexes
    model.py      the row as a Python type, and the filters
    views/        optional: the SELECT of each view on the table; a view may span streams

A few read models have a function in place of the fold: projections/computed.py.

A row depends on the events of its own stream alone, so folding a stream again gives the same rows as folding all:

    live      fold the streams that (after, upto] touched, and replace their rows    projections/engine.py
    rebuild   fold everything into a new table, in parallel by stream                projections/rebuild.py
    as of     fold the events up to a position: of one stream, one client or all     projections/reads.py

Query plans. A fold is planned while its tables may be empty, young or huge, so its plan must not depend on statistics:
`slice` has no joins, the joins of a fold never run as nested loops, and a fold of few streams goes through indexes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from psycopg import sql
from pydantic import BaseModel

from ledger.database import Connection

TYPE_IN_SQL = re.compile(r"'([a-z-]+\.[a-z-]+)'")


def sql_file(path: Path) -> sql.SQL:
    """Return the text of one of our own .sql files. Names in braces are for psycopg.sql to fill in."""
    return sql.SQL(path.read_text("utf-8"))


# Scopes: the events that a fold reads. Each takes the parameters that it names.
SLICE = sql_file(Path(__file__).with_name("slice.sql"))
UP_TO = sql.SQL("e.position <= %(upto)s")
TOUCHED = sql.SQL("e.stream = ANY (%(streams)s) AND e.position <= %(upto)s")
NEW = sql.SQL("e.position > %(after)s AND e.position <= %(upto)s")
PART = sql.SQL("e.position <= %(upto)s AND abs(hashtext(e.stream)::bigint) %% %(parts)s = %(part)s")
ONE_STREAM = sql.SQL("e.stream = %(stream)s AND e.position <= %(upto)s")
ONE_CLIENT = sql.SQL(
    "e.stream = ANY (ARRAY(SELECT c.stream FROM stream_clients c WHERE c.client_id = ANY (%(client_id)s)"
    " AND c.position <= %(upto)s)) AND e.position <= %(upto)s"
)


# A read leaves out the streams that the fold cannot process. They were found when the table was filled; nearly always
# there are none. NOT IN is one look at a small table, not a join.
NOT_SET_ASIDE = sql.SQL(
    "({scope}) AND e.stream NOT IN (SELECT a.stream FROM streams_set_aside a"
    " WHERE a.read_model = {name} AND a.position <= %(upto)s)"
)


@dataclass(frozen=True)
class Filter:
    """A condition on the rows of a read model, named `model`; it takes the parameter that has the filter's name.

    `changing` says that a later event may change whether a row matches.
    """

    condition: sql.Composable
    changing: bool = False


def fixed(*columns: str) -> dict[str, Filter]:
    """Return a filter by equality for each column that keeps the value it got when the row was made."""
    return {column: Filter(_equals(column)) for column in columns}


def changing(*columns: str) -> dict[str, Filter]:
    """Return a filter by equality for each column that later events may change."""
    return {column: Filter(_equals(column), changing=True) for column in columns}


def any_of(*columns: str) -> dict[str, Filter]:
    """Return a filter for each column that later events may change: one of several values."""
    return {column: Filter(_among(column), changing=True) for column in columns}


def within(column: str, name: str, *, changing: bool = False) -> dict[str, Filter]:
    """Return the filters `{name}_from` and `{name}_to`: a column is within a half-open range."""
    first, end = sql.Placeholder(f"{name}_from"), sql.Placeholder(f"{name}_to")
    own = sql.Identifier("model", column)
    return {
        f"{name}_from": Filter(sql.SQL("{} >= {}").format(own, first), changing=changing),
        f"{name}_to": Filter(sql.SQL("{} < {}").format(own, end), changing=changing),
    }


def of_amount() -> dict[str, Filter]:
    """Return the filters by the amount of a request, which never changes; both ends are included."""
    return {
        "amount_from": Filter(sql.SQL("model.amount_usd >= %(amount_from)s")),
        "amount_to": Filter(sql.SQL("model.amount_usd <= %(amount_to)s")),
    }


def of_client() -> dict[str, Filter]:
    """Return the filters by client and by a reader's scope: lists of identifiers, as a client may have several."""
    return {
        "client_id": Filter(sql.SQL("model.client_id = ANY (%(client_id)s)")),
        "in_scope": Filter(sql.SQL("model.client_id = ANY (%(in_scope)s)")),
    }


def _among(column: str) -> sql.Composed:
    return sql.SQL("model.{} = ANY ({})").format(sql.Identifier(column), sql.Placeholder(column))


def _equals(column: str) -> sql.Composed:
    return sql.SQL("model.{} = {}").format(sql.Identifier(column), sql.Placeholder(column))


COMMON_FILTERS = {
    **fixed("id"),
    "ids": Filter(sql.SQL("model.id = ANY (%(ids)s)")),
    "from_id": Filter(sql.SQL("model.id >= %(from_id)s")),
    "after_id": Filter(sql.SQL("model.id > %(after_id)s")),
    "before_id": Filter(sql.SQL("model.id < %(before_id)s")),
    "created_from": Filter(sql.SQL("model.created_at >= %(created_from)s")),
    "created_to": Filter(sql.SQL("model.created_at < %(created_to)s")),
}


@dataclass(frozen=True)
class ReadModel:
    """A read model, by its folder. Its table has the folder's name."""

    # The streams of one transaction of a rebuild that sets streams aside.
    streams_at_once: ClassVar[int] = 5_000

    folder: Path
    # The columns of the table, but for `stream`.
    row: type[BaseModel]
    # In addition to COMMON_FILTERS.
    own_filters: Mapping[str, Filter] = field(default_factory=dict)
    # The types of events that make or change rows. Default: all types that the fold names.
    made_by: tuple[str, ...] = ()
    # The column with the number of the request that a row is about; None if rows show no data of clients. Reads of
    # rows of requests are recorded.
    request_column: str | None = None
    # The column with the number of the client, for rows that are about a client and no request. Reads of such rows are
    # recorded, too.
    client_column: str | None = None
    # The row without contents and texts; None if it has none.
    summary: type[BaseModel] | None = None
    # True if there is a row for each event, of any type or of those in `made_by`, and the row depends only on that
    # event: a live step then folds only the new events. The row's id is the event's position.
    per_event: bool = False

    @property
    def name(self) -> str:
        """Return the name of the table."""
        return self.folder.name

    @cached_property
    def filters(self) -> dict[str, Filter]:
        """Return all filters, by name."""
        return {**COMMON_FILTERS, **self.own_filters}

    @cached_property
    def fold(self) -> sql.SQL:
        """Return the SELECT over `slice`. Its columns are those of the table, in the same order."""
        return sql_file(self.folder / "fold.sql")

    @cached_property
    def table(self) -> sql.SQL:
        """Return the statement that creates the table, without indexes, in the first schema of the search path."""
        return sql_file(self.folder / "table.sql")

    @cached_property
    def indexes(self) -> sql.SQL:
        """Return the statements that give a filled table its key and indexes."""
        return sql_file(self.folder / "indexes.sql")

    @cached_property
    def views(self) -> dict[str, sql.SQL]:
        """Return the SELECT of each view on the table, by the view's name, which is the name of the file."""
        return {path.stem: sql_file(path) for path in sorted((self.folder / "views").glob("*.sql"))}

    @cached_property
    def event_types(self) -> list[str] | None:
        """Return the types of events that make or change rows, sorted; None for all types."""
        if self.per_event and not self.made_by:
            return None
        return sorted(set(self.made_by or TYPE_IN_SQL.findall(self.fold.as_string(None))))

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of the SQL that makes table and views. If it changes, they must be rebuilt."""
        views = (sql.SQL(name) + text for name, text in self.views.items())
        parts = (self.fold, self.table, self.indexes, SLICE, *views)
        return hashlib.sha256("\0".join(part.as_string(None) for part in parts).encode()).hexdigest()

    def rows(self, scope: sql.SQL) -> sql.Composed:
        """Return a SELECT of the rows, as of `upto`, of the events in `scope`. It takes the parameters of the scope."""
        return self.folded(NOT_SET_ASIDE.format(scope=scope, name=sql.Literal(self.name)))

    def folded(self, scope: sql.Composable) -> sql.Composed:
        """Return the same SELECT to fill the table. It fails if the fold cannot process one of the streams."""
        query = sql.SQL("WITH slice AS NOT MATERIALIZED ({}) SELECT * FROM ({}) folded")
        return query.format(SLICE.format(scope=scope), self.fold)

    @cached_property
    def delete_touched(self) -> str:
        """Return the DELETE of the rows of the touched streams. The search path determines the table."""
        delete = sql.SQL("DELETE FROM {} WHERE stream = ANY (%(streams)s)")
        return delete.format(sql.Identifier(self.name)).as_string(None)

    @cached_property
    def insert_touched(self) -> str:
        """Return the INSERT of the rows of the touched streams, folded again. The search path determines the table."""
        insert = sql.SQL("INSERT INTO {} {}")
        return insert.format(sql.Identifier(self.name), self.folded(TOUCHED)).as_string(None)

    def insert(self, conn: Connection, streams: Sequence[str], upto: int) -> None:
        """Insert the rows of streams as of a position."""
        conn.execute(self.insert_touched, {"streams": list(streams), "upto": upto}, prepare=True)

    @cached_property
    def insert_new(self) -> str:
        """Return the INSERT of the rows of the events in (after, upto], for a read model with a row for each event."""
        return sql.SQL("INSERT INTO {} {}").format(sql.Identifier(self.name), self.rows(NEW)).as_string(None)
