"""Puts a new table in an old one's place while everybody reads it.

Locks, in this order, all until the commit that swaps:

    the old table, SHARE UPDATE EXCLUSIVE     keeps vacuum away, in no reader's or projector's way
    the row of `projections`                  the projector waits; what it had not applied is applied here
    our views on it, ACCESS EXCLUSIVE         their readers wait
    the old table, ACCESS EXCLUSIVE           readers wait

The last two are asked for with a patience of milliseconds, because readers that come later queue behind the request. A
long read makes the attempt fail; everything is let go, and tried again. So a reader waits for the patience and for the
few statements on the catalogue after it, and for nothing else. Views come before the table, as they do for who reads
through them: the other way round the two would wait for each other.

A view that is not ours is never dropped: it keeps its table, and the rebuild fails. Ours say so in their comment, by
which also those that today's program has no more are found.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import sleep

import psycopg
from psycopg import sql

from ledger.database import Connection
from projections.engine import apply
from projections.read_model import ReadModel

# From one millisecond, doubled each time, up to so many; and pauses between, up to a second: ten minutes in all.
MOST_PATIENCE_MS = 50
PAUSE_S = 0.02
MOST_PAUSE_S = 1.0
TRIES = 600


# Stands in the comment of each view that the swap made, before the name of its read model.
OURS = "advice-ledger: made anew with the read model "
OUR_VIEWS = (
    "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = %s AND c.relkind = 'v' AND obj_description(c.oid, 'pg_class') = %s ORDER BY c.relname"
)


class TableBusy(Exception):
    """Readers held the old table all the time."""


@dataclass(frozen=True)
class Place:
    """Where a read model of the ledger in `schema` is, and where its next table is made."""

    schema: str
    name: str

    @property
    def staging(self) -> str:
        """The schema in which new tables are made; kept, as making it takes a right on the whole database."""
        return f"{self.schema}_rebuild"

    @property
    def used(self) -> sql.Identifier:
        """The table that is read."""
        return sql.Identifier(self.schema, self.name)

    @property
    def staged(self) -> sql.Identifier:
        """The new table."""
        return sql.Identifier(self.staging, self.name)


def head(conn: Connection) -> int:
    """The position of the newest event."""
    (position,) = conn.execute("SELECT position FROM head").fetchone() or (0,)
    return int(position)


def exists(conn: Connection, name: sql.Identifier) -> bool:
    """Whether there is such a table."""
    row = conn.execute("SELECT to_regclass(%s) IS NOT NULL", [name.as_string(conn)]).fetchone()
    return row == (True,)


def create_staging_schema(conn: Connection, schema: str) -> None:
    """Makes the schema for new tables, unless it is there."""
    name = Place(schema, "").staging
    if conn.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [name]).fetchone() is None:
        conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))


def stage(conn: Connection, place: Place, *statements: sql.SQL) -> None:
    """Runs statements that name the read model so that they mean the new table."""
    with conn.transaction():
        _use_staging_schema(conn, place)
        for statement in statements:
            conn.execute(statement, prepare=False)


def catch_up(conn: Connection, place: Place, read_model: ReadModel, after: int) -> int:
    """Applies to the new table what was recorded after `after`. Returns how far it is then."""
    with conn.transaction():
        return _catch_up(conn, place, read_model, after)


def swap(conn: Connection, place: Place, read_model: ReadModel, built_upto: int) -> None:
    """Catches up and puts the new table in the old one's place. Raises TableBusy."""
    for attempt in range(TRIES):
        built_upto = catch_up(conn, place, read_model, built_upto)
        try:
            with conn.transaction():
                _swap(conn, place, read_model, built_upto, patience_ms=min(2**attempt, MOST_PATIENCE_MS))
        except psycopg.errors.LockNotAvailable:
            sleep(min(PAUSE_S * (attempt + 1), MOST_PAUSE_S))
        else:
            return
    raise TableBusy


def _swap(conn: Connection, place: Place, read_model: ReadModel, built_upto: int, *, patience_ms: int) -> None:
    replaces = exists(conn, place.used)
    if replaces:
        conn.execute(sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(place.used))
    conn.execute("SELECT FROM projections WHERE name = %s FOR UPDATE", [read_model.name])
    position = _catch_up(conn, place, read_model, built_upto)
    conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(patience_ms)))
    _drop_views(conn, place)
    if replaces:
        conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(place.used))
        conn.execute(sql.SQL("DROP TABLE {}").format(place.used))
    conn.execute("SET LOCAL lock_timeout = 0")
    conn.execute(sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(place.staged, sql.Identifier(place.schema)))
    _make_views(conn, place, read_model)
    _grant(conn, place)
    conn.execute(
        "INSERT INTO projections (name, position, digest) VALUES (%s, %s, %s) ON CONFLICT (name) DO UPDATE SET"
        " position = excluded.position, digest = excluded.digest, error = NULL, updated_at = clock_timestamp()",
        [read_model.name, position, read_model.digest],
    )


def _use_staging_schema(conn: Connection, place: Place) -> None:
    path = sql.SQL("SET LOCAL search_path = {}, {}, pg_temp")
    conn.execute(path.format(sql.Identifier(place.staging), sql.Identifier(place.schema)))


def _catch_up(conn: Connection, place: Place, read_model: ReadModel, after: int) -> int:
    _use_staging_schema(conn, place)
    newest = head(conn)
    if newest > after:
        apply(conn, read_model, after, newest)
    return newest


def _drop_views(conn: Connection, place: Place) -> None:
    """Those that a swap made, also by an older program. Fails where somebody's view is on one of them."""
    for (name,) in conn.execute(OUR_VIEWS, [place.schema, OURS + place.name]).fetchall():
        conn.execute(sql.SQL("DROP VIEW {}").format(sql.Identifier(place.schema, name)))


def _make_views(conn: Connection, place: Place, read_model: ReadModel) -> None:
    """On the table as it stands now. Fails where somebody's table or view has the name."""
    for name, query in read_model.views.items():
        view = sql.Identifier(place.schema, name)
        conn.execute(sql.SQL("CREATE VIEW {} AS {}").format(view, query), prepare=False)
        conn.execute(sql.SQL("COMMENT ON VIEW {} IS {}").format(view, sql.Literal(OURS + place.name)))
        reader, verifier, _ = _roles(place)
        conn.execute(sql.SQL("GRANT SELECT ON {} TO {}, {}").format(view, reader, verifier))


def _roles(place: Place) -> list[sql.Identifier]:
    return [sql.Identifier(f"{place.schema}_{role}") for role in ("reader", "verifier", "projector")]


def _grant(conn: Connection, place: Place) -> None:
    """Rights go with a table, so each new one is given them."""
    reader, verifier, projector = _roles(place)
    conn.execute(sql.SQL("GRANT SELECT ON {} TO {}, {}").format(place.used, reader, verifier))
    conn.execute(sql.SQL("GRANT SELECT, INSERT, DELETE ON {} TO {}").format(place.used, projector))
