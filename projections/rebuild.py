"""Builds read models anew, beside the ones in use, and swaps them in. Needs a login that may act as the ledger's owner.

The new table grows in a schema of its own, `LEDGER_rebuild`, in parallel by stream; then it catches up, is compared
with the old one, and takes its place in one transaction. Readers see the old table until that commit. A crash leaves
the old table in place and the half-built one to be dropped by the next rebuild. One rebuild at a time: advisory lock.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ledger.database import conninfo
from projections.compare import differences
from projections.engine import PART, PROJECTIONS, TOUCHED_STREAMS, Connection, Projection, apply

LOCK = 0x41_4C_0002
PARTS = 2
# How long the swap may make readers queue before it steps back and tries again.
SWAP_PATIENCE = "200ms"
SWAP_TRIES = 50

# One connection, one core; and plans that scan and hash, whatever the statistics of a young table say.
BULK = {"max_parallel_workers_per_gather": "0", "enable_nestloop": "off", "enable_indexscan": "off", "jit": "off"}

Progress = Callable[[str, int, int], None]


class RebuildFailed(Exception):
    """The read model could not be rebuilt; the one in use stays. The message says what to do."""


@dataclass(frozen=True)
class RebuildReport:
    """One rebuilt read model: events folded, rows in it, rows that differ from before (None: nothing to compare with)."""

    name: str
    position: int
    rows: int
    differing: int | None


def outdated(conn: Connection) -> list[Projection]:
    """The read models that are missing, stand still on an error, or were built by other SQL than today's."""
    built = {
        str(name): str(digest)
        for name, digest in conn.execute("SELECT name, digest FROM projections WHERE error IS NULL")
    }
    return [found for found in PROJECTIONS if built.get(found.name) != found.digest]


def ensure(url: str, *, schema: str = "ledger", on_progress: Progress | None = None) -> list[RebuildReport]:
    """Rebuilds what is outdated, nothing else. Quick when all is well."""
    with psycopg.connect(conninfo(url, "owner", schema=schema), autocommit=True) as conn:
        todo = outdated(conn)
    return rebuild(url, todo, schema=schema, on_progress=on_progress) if todo else []


def rebuild(
    url: str, read_models: list[Projection], *, schema: str = "ledger", on_progress: Progress | None = None
) -> list[RebuildReport]:
    """Rebuilds these read models. `on_progress(name, parts done, parts in all)`. Raises RebuildFailed or psycopg.Error."""
    with psycopg.connect(conninfo(url, "owner", schema=schema), autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [LOCK, schema])
        try:
            return [_rebuild(conn, url, found, schema, on_progress) for found in read_models]
        finally:
            if not conn.broken:
                conn.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", [LOCK, schema])


def _rebuild(
    conn: Connection, url: str, read_model: Projection, schema: str, on_progress: Progress | None
) -> RebuildReport:
    staging = f"{schema}_rebuild"
    with conn.transaction():
        conn.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(staging)))
        conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(staging)))
        _look_first_in(conn, staging, schema)
        conn.execute(read_model.table)
    upto = _head(conn)
    _fill(url, read_model, schema, upto, on_progress)
    conn.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(staging, read_model.name)))
    with conn.transaction():  # most of what came in meanwhile, before anybody has to wait
        _look_first_in(conn, staging, schema)
        newest = _head(conn)
        apply(conn, read_model, upto, newest)
    differing = _compare(conn, read_model, schema, newest)
    position, rows = _swap(conn, read_model, schema, newest)
    conn.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(staging)))
    return RebuildReport(read_model.name, position, rows, differing)


def _look_first_in(conn: Connection, staging: str, schema: str) -> None:
    conn.execute(
        sql.SQL("SET LOCAL search_path = {}, {}, pg_temp").format(sql.Identifier(staging), sql.Identifier(schema))
    )


def _head(conn: Connection) -> int:
    row = conn.execute("SELECT position FROM head").fetchone()
    if row is None:
        raise RebuildFailed("this ledger has no head row: run advice-ledger migrate")
    return int(row[0])


def _fill(url: str, read_model: Projection, schema: str, upto: int, on_progress: Progress | None) -> None:
    """Folds everything up to `upto` into the staging table, a part of the streams on each connection."""
    insert = sql.SQL("INSERT INTO {} {}").format(
        sql.Identifier(f"{schema}_rebuild", read_model.name), read_model.rows(PART)
    )

    def fill(part: int) -> None:
        with psycopg.connect(conninfo(url, "owner", schema=schema, work_mem="256MB", **BULK), autocommit=True) as conn:
            conn.execute(insert, {"upto": upto, "parts": PARTS, "part": part})

    with ThreadPoolExecutor(PARTS) as pool:
        running = [pool.submit(fill, part) for part in range(PARTS)]
        for done, future in enumerate(as_completed(running), 1):
            future.result()
            if on_progress is not None:
                on_progress(read_model.name, done, PARTS)


def _compare(conn: Connection, read_model: Projection, schema: str, built_upto: int) -> int | None:
    """How many rows the table in use had wrong; streams that moved between the two positions are left out."""
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        row = conn.execute(
            "SELECT position FROM projections WHERE name = %s AND digest = %s", [read_model.name, read_model.digest]
        ).fetchone()
        if row is None:
            return None
        moved = [found[0] for found in conn.execute(TOUCHED_STREAMS, sorted((row[0], built_upto)))]
        settled = sql.SQL("SELECT * FROM {} WHERE stream <> ALL (%(moved)s)")
        new = settled.format(sql.Identifier(f"{schema}_rebuild", read_model.name))
        old = settled.format(sql.Identifier(schema, read_model.name))
        return sum(1 for _ in differences(conn, read_model, new, old, {"moved": moved}))


def _swap(conn: Connection, read_model: Projection, schema: str, built_upto: int) -> tuple[int, int]:
    """Catches up and puts the new table in the old one's place. Returns its position and number of rows."""
    for _ in range(SWAP_TRIES):
        try:
            with conn.transaction():
                return _swap_once(conn, read_model, schema, built_upto)
        except psycopg.errors.LockNotAvailable:
            continue  # a long read holds the old table: let the readers behind us through, then try again
    raise RebuildFailed(f"{read_model.name}: readers kept the table busy; run advice-ledger rebuild again")


def _swap_once(conn: Connection, read_model: Projection, schema: str, built_upto: int) -> tuple[int, int]:
    staging, name = sql.Identifier(f"{schema}_rebuild", read_model.name), sql.Identifier(schema, read_model.name)
    conn.execute("SELECT FROM projections WHERE name = %s FOR UPDATE", [read_model.name])
    position = _head(conn)
    _look_first_in(conn, f"{schema}_rebuild", schema)
    apply(conn, read_model, built_upto, position)
    count = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(staging)).fetchone()
    conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(SWAP_PATIENCE)))
    conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(name))
    conn.execute(sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(staging, sql.Identifier(schema)))
    _grant(conn, name, schema)
    conn.execute(
        "INSERT INTO projections (name, position, digest) VALUES (%s, %s, %s) ON CONFLICT (name) DO UPDATE SET"
        " position = excluded.position, digest = excluded.digest, error = NULL, updated_at = clock_timestamp()",
        [read_model.name, position, read_model.digest],
    )
    return position, int(count[0]) if count else 0


def _grant(conn: Connection, name: sql.Identifier, schema: str) -> None:
    reader, verifier, projector = (sql.Identifier(f"{schema}_{role}") for role in ("reader", "verifier", "projector"))
    conn.execute(sql.SQL("GRANT SELECT ON {} TO {}, {}").format(name, reader, verifier))
    conn.execute(sql.SQL("GRANT SELECT, INSERT, DELETE ON {} TO {}").format(name, projector))
