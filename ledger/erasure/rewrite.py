"""Write a recorded table anew without the bytes of deleted rows, and swap it in while others read and append.

New tables are made in the staging schema `LEDGER_rebuild`, filled, indexed, and put in the place of the old one in one
transaction, under a lock of milliseconds. A crash leaves the old table in use, and new ones that the next scrub drops.

If values are deleted meanwhile, the copies may have them: they are dropped, and made again.

The tables:

    sealed_fields    a partition at a time. It becomes one partition for each SIZE positions that it holds; the last one
                     has no end, so that an append always finds its partition
    stream_clients   as a whole
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from ledger.database import Connection
from ledger.short_lock import until_free
from ledger.store.head import read_head

HERE = Path(__file__).parent
PARTITIONS = (HERE / "partitions.sql").read_bytes()
LEFT_OVER = (HERE / "left_over.sql").read_bytes()
NEWEST_ERASED = "SELECT coalesce(max(position), 0) FROM erased_streams"
# Positions in a partition of sealed values. With 600 bytes of values for each event, it takes 2.5 GB.
SIZE = 4_194_304
# Positions that are copied in one transaction.
CHUNK = 50_000
# The most rows that may be copied under the lock.
FEW = 500
# The number of attempts to copy a table, if others erase meanwhile or append faster than it is copied.
TRIES = 10

ROWS = sql.SQL("INSERT INTO {} SELECT * FROM {} WHERE position > %(after)s AND position <= %(upto)s")
# The index of clients has no index by position: new rows are found by the streams of new events.
REST_OF_CLIENTS = sql.SQL(
    "INSERT INTO {} SELECT * FROM {} WHERE position > %(after)s AND stream IN"
    " (SELECT e.stream FROM events e WHERE e.position > %(after)s AND e.position <= %(upto)s)"
)

SEALED, CLIENTS = "sealed_fields", "stream_clients"

# Called after each step with the number of positions that are done, and the number of all.
OnCopied = Callable[[int, int], None]


class ScrubFailed(Exception):
    """A scrub stopped. Tables that were rewritten stay; the others are as they were. The message says why."""


@dataclass(frozen=True)
class Part:
    """Rows with positions in [start, end), or from `start` on if `end` is None.

    A partition, or a whole table from 0 on.
    """

    table: str
    start: int
    end: int | None

    def pieces(self, head: int, size: int) -> list[Part]:
        """Return the partitions that replace this one, cut at multiples of `size` up to the head."""
        if self.table == CLIENTS:
            return [self]
        last = head if self.end is None else self.end - 1
        cuts = range((self.start // size + 1) * size, last + 1, size)
        starts = [self.start, *cuts]
        return [Part(f"{SEALED}_{start}", start, end) for start, end in zip(starts, [*cuts, self.end], strict=True)]


def sealed_parts(conn: Connection) -> list[Part]:
    """Return the partitions of the sealed values, in order.

    Raises ScrubFailed if scrubs do not make such partitions.
    """
    names = [str(name) for (name,) in conn.execute(PARTITIONS)]
    if not names or not all(re.fullmatch(rf"{SEALED}_[0-9]+", name) for name in names):
        raise ScrubFailed(
            "the partitions of the sealed values are not those that migrate made: run advice-ledger verify"
        )
    starts = sorted(int(name.removeprefix(f"{SEALED}_")) for name in names)
    return [Part(f"{SEALED}_{start}", start, end) for start, end in zip(starts, [*starts[1:], None], strict=True)]


def drop_left_over(conn: Connection, staging: str) -> None:
    """Drop the tables of a scrub that was killed. The caller makes sure that no other scrub runs."""
    for (name,) in conn.execute(LEFT_OVER, [staging]).fetchall():
        conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(staging, name)))


def rewrite(conn: Connection, schema: str, part: Part, on_copied: OnCopied, *, size: int = SIZE) -> list[str]:
    """Rewrite a partition of the sealed values, or the index of clients; return the names of the new tables.

    `conn` is the owner's, in autocommit mode. Raises ScrubFailed, TableBusy or psycopg.Error. After an error the old
    table is in use, and the next scrub drops the new ones.
    """
    for _ in range(TRIES):
        drop_left_over(conn, f"{schema}_rebuild")
        head = _head(conn)
        copy = Copy(conn, schema, part, part.pieces(head, size), _newest_erased(conn), on_copied)
        copy.fill(head)
        if copy.swap():
            return [piece.table for piece in copy.pieces]
    raise ScrubFailed(f"clients were erased while {part.table} was written anew, again and again: run it again")


def _head(conn: Connection) -> int:
    current = read_head(conn)
    return 0 if current is None else current.position


def _newest_erased(conn: Connection) -> int:
    [(newest,)] = conn.execute(NEWEST_ERASED).fetchall()
    return int(newest)


@dataclass
class Copy:
    """The new tables for a part, `pieces`. They are made from rows as of the newest erasure, `newest_erased`."""

    conn: Connection
    schema: str
    part: Part
    pieces: Sequence[Part]
    newest_erased: int
    on_copied: OnCopied
    # Rows up to this position are copied.
    copied: int = 0

    def fill(self, head: int) -> None:
        """Make and fill the new tables, with rows up to `head`, and give them the old table's properties."""
        self.copied = head
        rows = 0
        last = head if self.part.end is None else self.part.end - 1
        for piece in self.pieces:
            self._make(piece)
            upto = last if piece.end is None else piece.end - 1
            step = upto + 2 if self._is_whole else CHUNK
            for after in range(piece.start - 1, upto, step):
                rows += self._copy(piece, after, min(after + step, upto))
                self.on_copied(min(after + step, upto) - self.part.start, last - self.part.start)
            names = [name.as_string(self.conn) for name in (self._old, self._named(piece))]
            self.conn.execute("SELECT make_twin(%s::regclass, %s::regclass)", names)
            self.conn.execute(sql.SQL("ANALYZE {}").format(self._named(piece)))
        self._check(rows, last)

    def swap(self) -> bool:
        """Put the new tables in the place of the old one; return False if values were deleted meanwhile."""
        swapped = False

        def attempt(patience_ms: int) -> None:
            nonlocal swapped
            self._catch_up()
            with self.conn.transaction():
                swapped = self._swap(patience_ms)

        until_free(attempt)
        return swapped

    def _swap(self, patience_ms: int) -> bool:
        conn, table = self.conn, sql.Identifier(self.schema, self.part.table if self._is_whole else SEALED)
        conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(patience_ms)))
        conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(table))
        conn.execute("SET LOCAL lock_timeout = 0")
        if _newest_erased(conn) != self.newest_erased:
            return False
        self._copy_rest(_head(conn))
        conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(self.schema, self.part.table)))
        for piece in self.pieces:
            move = sql.SQL("ALTER TABLE {} SET SCHEMA {}")
            conn.execute(move.format(self._named(piece), sql.Identifier(self.schema)))
            if not self._is_whole:
                self._attach(piece)
        return True

    def _attach(self, piece: Part) -> None:
        """Attach a partition. Its constraint spares PostgreSQL from reading it, and is dropped afterwards."""
        new = sql.Identifier(self.schema, piece.table)
        attach = sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})")
        first = sql.SQL("MINVALUE") if piece.start == 0 else sql.Literal(piece.start)
        end = sql.SQL("MAXVALUE") if piece.end is None else sql.Literal(piece.end)
        self.conn.execute(attach.format(sql.Identifier(self.schema, SEALED), new, first, end))
        self.conn.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT in_partition").format(new))

    def _make(self, piece: Part) -> None:
        old, new = sql.Identifier(self.schema, self.part.table), self._named(piece)
        like = "INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS"
        self.conn.execute(sql.SQL("CREATE TABLE {} (LIKE {} {})").format(new, old, sql.SQL(like)))
        if not self._is_whole:
            limits: list[sql.Composable] = [sql.SQL("true")]
            if piece.start:
                limits.append(sql.SQL("position >= {}").format(sql.Literal(piece.start)))
            if piece.end is not None:
                limits.append(sql.SQL("position < {}").format(sql.Literal(piece.end)))
            check = sql.SQL("ALTER TABLE {} ADD CONSTRAINT in_partition CHECK ({})")
            self.conn.execute(check.format(new, sql.SQL(" AND ").join(limits)))

    def _copy(self, piece: Part, after: int, upto: int) -> int:
        """Copy the rows in (after, upto] that `piece` takes. Return their number."""
        copy = ROWS.format(self._named(piece), self._old)
        return self.conn.execute(copy, {"after": after, "upto": upto}).rowcount

    def _copy_rest(self, head: int) -> None:
        """Copy the rows that were appended since. Only the last partition takes new rows."""
        last = self.pieces[-1]
        if last.end is None:
            rest = REST_OF_CLIENTS if self._is_whole else ROWS
            self.conn.execute(rest.format(self._named(last), self._old), {"after": self.copied, "upto": head})

    def _catch_up(self) -> None:
        for _ in range(TRIES):
            head = _head(self.conn)
            if head - self.copied <= FEW:
                return
            self._copy_rest(head)
            self.copied = head

    def _check(self, rows: int, upto: int) -> None:
        """Compare the number of rows with the old table's, because the swap drops the old table. Raises ScrubFailed."""
        count = sql.SQL("SELECT count(*) FROM {} WHERE position <= %s").format(self._old)
        [(wanted,)] = self.conn.execute(count, [upto]).fetchall()
        if wanted != rows and _newest_erased(self.conn) == self.newest_erased:
            raise ScrubFailed(f"the copy of {self.part.table} has other rows ({rows}, not {wanted}), so it is left")

    @property
    def _is_whole(self) -> bool:
        return self.part.table == CLIENTS

    @property
    def _old(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.part.table)

    def _named(self, piece: Part) -> sql.Identifier:
        return sql.Identifier(f"{self.schema}_rebuild", piece.table)
