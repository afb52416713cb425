"""Replace a table by a new one while others read it.

Locks are taken in this order, and all are held until the transaction that swaps commits:

    the old table, SHARE UPDATE EXCLUSIVE     keeps vacuum away; does not block readers or the projector
    the row of `projections`                  the projector waits; events that it has not applied are applied here
    our views on the table, ACCESS EXCLUSIVE  their readers wait
    the old table, ACCESS EXCLUSIVE           readers wait

The last two are requested with a timeout of milliseconds, because readers that come later queue behind the request. If
a long read makes the attempt fail, all locks are released and the swap is tried again. So a reader waits for the
timeout and for a few statements on the catalogue, and for nothing else. Views are locked before the table, as a reader
of a view locks them; in the other order the two could wait for each other.

Views of other people are never dropped: such a view keeps its table, and the rebuild fails. Our views have a comment
that says so. By that comment we also find views that an older program made and today's program no longer has.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from ledger.database import Connection
from ledger.short_lock import until_free
from ledger.store.head import read_head
from projections.engine import apply
from projections.read_model import ReadModel

# The list of streams that were set aside; the staging schema has one for the new tables.
SET_ASIDE = "streams_set_aside"
# The comment of each view that the swap made: this, then the name of its read model.
OURS = "advice-ledger: made anew with the read model "
OUR_VIEWS = (
    "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = %s AND c.relkind = 'v' AND obj_description(c.oid, 'pg_class') = %s ORDER BY c.relname"
)


@dataclass(frozen=True)
class Place:
    """The tables of one read model: the one in use in the ledger's `schema`, and the next one in the staging schema."""

    schema: str
    name: str

    @property
    def staging(self) -> str:
        """Return the schema in which new tables are made.

        It is kept, because creating it needs a right on the whole database.
        """
        return f"{self.schema}_rebuild"

    @property
    def used(self) -> sql.Identifier:
        """Return the table that readers see."""
        return sql.Identifier(self.schema, self.name)

    @property
    def staged(self) -> sql.Identifier:
        """Return the table that is being built."""
        return sql.Identifier(self.staging, self.name)


def head(conn: Connection) -> int:
    """Return the position of the last event, or 0."""
    current = read_head(conn)
    return 0 if current is None else current.position


def exists(conn: Connection, name: sql.Identifier) -> bool:
    """Return whether this table exists."""
    row = conn.execute("SELECT to_regclass(%s) IS NOT NULL", [name.as_string(conn)]).fetchone()
    return row == (True,)


def create_staging_schema(conn: Connection, schema: str) -> None:
    """Create the schema for new tables if it does not exist, and in it an empty list of set-aside streams.

    The caller keeps other rebuilds out.
    """
    place = Place(schema, "")
    if conn.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [place.staging]).fetchone() is None:
        conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(place.staging)))
    staged = sql.Identifier(place.staging, SET_ASIDE)
    conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(staged))
    create = sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)")
    conn.execute(create.format(staged, sql.Identifier(schema, SET_ASIDE)))


def discard(conn: Connection, place: Place) -> None:
    """Drop a table that was not swapped in, and its list of set-aside streams."""
    conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(place.staged))
    conn.execute(_forget(place.staging), [place.name])


def stage(conn: Connection, place: Place, *statements: sql.SQL) -> None:
    """Run statements that make the name of the read model mean the new table."""
    with conn.transaction():
        use_staging_schema(conn, place)
        for statement in statements:
            conn.execute(statement, prepare=False)


def catch_up(conn: Connection, place: Place, read_model: ReadModel, after: int) -> int:
    """Apply the events after `after` to the new table. Return the position that it then has.

    Streams that cannot be folded are set aside in the staging schema's list.
    """
    with conn.transaction():
        return _catch_up(conn, place, read_model, after)


def swap(conn: Connection, place: Place, read_model: ReadModel, built_upto: int) -> None:
    """Catch up, and replace the old table by the new one. Raises TableBusy."""

    def attempt(patience_ms: int) -> None:
        nonlocal built_upto
        built_upto = catch_up(conn, place, read_model, built_upto)
        with conn.transaction():
            _swap(conn, place, read_model, built_upto, patience_ms=patience_ms)

    until_free(attempt)


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
    _swap_set_aside(conn, place)
    conn.execute(sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(place.staged, sql.Identifier(place.schema)))
    _make_views(conn, place, read_model)
    _grant(conn, place)
    conn.execute(
        "INSERT INTO projections (name, position, digest) VALUES (%s, %s, %s) ON CONFLICT (name) DO UPDATE SET"
        " position = excluded.position, digest = excluded.digest, error = NULL, updated_at = clock_timestamp()",
        [read_model.name, position, read_model.digest],
    )


def _swap_set_aside(conn: Connection, place: Place) -> None:
    """Replace the list of set-aside streams by that of the new table."""
    conn.execute(_forget(place.schema), [place.name])
    copy = sql.SQL("INSERT INTO {} SELECT * FROM {} WHERE read_model = %s")
    lists = (sql.Identifier(schema, SET_ASIDE) for schema in (place.schema, place.staging))
    conn.execute(copy.format(*lists), [place.name])


def _forget(schema: str) -> sql.Composed:
    return sql.SQL("DELETE FROM {} WHERE read_model = %s").format(sql.Identifier(schema, SET_ASIDE))


def use_staging_schema(conn: Connection, place: Place) -> None:
    """Let bare names mean the staged tables first, to the end of the transaction."""
    path = sql.SQL("SET LOCAL search_path = {}, {}, pg_temp")
    conn.execute(path.format(sql.Identifier(place.staging), sql.Identifier(place.schema)))


def _catch_up(conn: Connection, place: Place, read_model: ReadModel, after: int) -> int:
    use_staging_schema(conn, place)
    newest = head(conn)
    if newest > after:
        apply(conn, read_model, after, newest)
    return newest


def _drop_views(conn: Connection, place: Place) -> None:
    """Drop the views that a swap made, also one of an older program. Fails if another view depends on one of them."""
    for (name,) in conn.execute(OUR_VIEWS, [place.schema, OURS + place.name]).fetchall():
        conn.execute(sql.SQL("DROP VIEW {}").format(sql.Identifier(place.schema, name)))


def _make_views(conn: Connection, place: Place, read_model: ReadModel) -> None:
    """Create the views on the table now in use. Fails if another table or view has one of the names."""
    for name, query in read_model.views.items():
        view = sql.Identifier(place.schema, name)
        conn.execute(sql.SQL("CREATE VIEW {} AS {}").format(view, query), prepare=False)
        conn.execute(sql.SQL("COMMENT ON VIEW {} IS {}").format(view, sql.Literal(OURS + place.name)))
        reader, verifier, _ = _roles(place)
        conn.execute(sql.SQL("GRANT SELECT ON {} TO {}, {}").format(view, reader, verifier))


def _roles(place: Place) -> list[sql.Identifier]:
    return [sql.Identifier(f"{place.schema}_{role}") for role in ("reader", "verifier", "projector")]


def _grant(conn: Connection, place: Place) -> None:
    """Grant the rights on the new table: the old table's rights were dropped with it."""
    reader, verifier, projector = _roles(place)
    conn.execute(sql.SQL("GRANT SELECT ON {} TO {}, {}").format(place.used, reader, verifier))
    conn.execute(sql.SQL("GRANT SELECT, INSERT, DELETE ON {} TO {}").format(place.used, projector))
