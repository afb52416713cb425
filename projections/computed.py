"""A computed read model: a function of the chain in place of a fold, for rows that SQL cannot fold.

It has no `fold.sql`. Its rows are those of whole streams, as a fold's are. Each has the `position` from which on it
holds, so the table itself answers `as_of`. Each is about the stream of an `owner`, and is deleted when that one is
erased. The rest is as for every read model: live steps, rebuild, comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import ClassVar

from psycopg import sql

from ledger.database import Connection
from projections.read_model import ReadModel

# The columns of the table as text, in its order.
Row = tuple[str | None, ...]
# Returns the rows of a stream as of a position. Streams are asked for in the order of their numbers.
Compute = Callable[[Connection, str, int], list[Row]]

# A step or a rebuild folds with other settings, which last to the end of the transaction.
READS_BY_INDEX = (
    "SELECT set_config('enable_nestloop', 'on', true), set_config('enable_seqscan', 'off', true),"
    " set_config('enable_hashjoin', 'off', true)"
)


def in_order(streams: Iterable[str]) -> list[str]:
    """Return streams in the order in which they are computed: of their numbers."""
    return sorted(streams, key=lambda stream: (len(stream), stream))


@dataclass(frozen=True)
class ComputedModel(ReadModel):
    """A read model by its folder and its function. `made_by` has the types of events that make rows."""

    # Each may be a run with thousands of rows.
    streams_at_once: ClassVar[int] = 25

    compute: Compute = field(kw_only=True)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the SQL that makes the table. If it changes, the table must be rebuilt."""
        return sha256("\0".join(part.as_string(None) for part in (self.table, self.indexes)).encode()).hexdigest()

    def rows(self, scope: sql.SQL) -> sql.Composed:
        """Return a SELECT of the rows, as of `upto`, of the streams in `scope`."""
        return sql.SQL("SELECT * FROM {} e WHERE {}").format(sql.Identifier(self.name), scope)

    def insert(self, conn: Connection, streams: Sequence[str], upto: int) -> None:
        """Compute and insert the rows of streams; the search path decides into which table."""
        copy = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(self.name))
        for rows in self.expected(conn, streams, upto):
            with conn.cursor() as cursor, cursor.copy(copy) as file:
                for row in rows:
                    file.write_row(row)

    def expected(self, conn: Connection, streams: Sequence[str], upto: int) -> Iterator[list[Row]]:
        """Yield the rows of each stream. Runs in the caller's transaction."""
        conn.execute(READS_BY_INDEX)
        for stream in in_order(streams):
            yield self.compute(conn, stream, upto)

    @cached_property
    def delete_owned(self) -> str:
        """DELETE the rows about streams that are erased."""
        delete = sql.SQL("DELETE FROM {} WHERE owner = ANY (%(streams)s)")
        return delete.format(sql.Identifier(self.name)).as_string(None)
