"""Builds read models anew beside the tables in use, and swaps them in. Its login must be allowed to act as the owner.

The new table is made in a schema of its own, `LEDGER_rebuild`. It is filled in parallel by stream, indexed, brought up
to date, compared with the old table, and put in its place in one transaction. Until that transaction commits, readers
see the old table and the projector keeps it current. A crash leaves the old table in use, and a half-built table that
the next rebuild drops. One rebuild at a time leads; its read models are built side by side.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import sleep

import psycopg
from psycopg import sql

from ledger.database import Connection, Url, connect, conninfo
from ledger.short_lock import TableBusy
from projections import registry, swap
from projections.compare import count_differences
from projections.computed import ComputedModel, in_order
from projections.engine import FEW_STREAMS, describe_error, touched_streams
from projections.read_model import PART, UP_TO, ReadModel
from projections.set_aside import Cause, SetAside, cause_of, insert_or_set_aside, listed
from projections.swap import Place

# One connection saturates a core of the server, which does not tell how many it has: assume as many as here.
CORES = min(os.cpu_count() or 2, 8)
# The pause between two tries to lead while another process rebuilds.
FOLLOW_S = 0.2
LEAD = "SELECT take_lead('owner')"
# The stages after the parts: index, compare, swap.
LAST_STAGES = 3

BULK = {
    "enable_nestloop": "off",
    "maintenance_work_mem": "256MB",
    "max_parallel_workers_per_gather": "0",
    "work_mem": "128MB",
}

# Errors of the installation, not of a read model: they are raised, and not recorded as the read model's state.
INSTALLATION_ERRORS = (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFunction)

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]


class RebuildFailed(Exception):
    """A read model could not be rebuilt; its old table stays in use. The message says why, without values of events."""


@dataclass(frozen=True)
class RebuildReport:
    """A rebuilt read model: its position and number of rows.

    `differing` is the number of rows that the old table had wrong, or None if there was no comparable table.
    `set_aside` are the streams that the fold cannot take.
    """

    name: str
    position: int
    rows: int
    differing: int | None
    set_aside: tuple[SetAside, ...] = ()


def outdated_read_models(conn: Connection) -> list[ReadModel]:
    """Return the read models to rebuild: a table or view is missing, an error stopped it, or its SQL has changed."""
    built = {
        str(name): str(digest)
        for name, digest in conn.execute(
            "SELECT name, digest FROM projections WHERE error IS NULL AND to_regclass(quote_ident(name)) IS NOT NULL"
        )
    }
    names = [name for read_model in registry.READ_MODELS for name in read_model.views]
    existing = "SELECT name FROM unnest(%s::text[]) v (name) WHERE to_regclass(quote_ident(name)) IS NOT NULL"
    views = {str(name) for (name,) in conn.execute(existing, [names])}
    return [
        read_model
        for read_model in registry.all_models()
        if built.get(read_model.name) != read_model.digest or read_model.views.keys() - views
    ]


def rebuild_outdated(url: Url, *, schema: str = "ledger", on_progress: Progress | None = None) -> list[RebuildReport]:
    """Rebuild the outdated read models, if there are any. Quick otherwise.

    A read model that cannot be rebuilt does not keep the server from starting: it is stopped, and the reason is
    recorded and logged.
    """
    with _connected(url, schema) as conn:
        if not outdated_read_models(conn):
            return []
        lead(conn, schema)
        outdated = outdated_read_models(conn)  # again: another server that is starting may have rebuilt them
        reports, failed = _rebuild_all(url, outdated, schema, on_progress)
    for failure in failed:
        log.error("read model %s", failure)
    return reports


def rebuild_read_models(
    url: Url, read_models: list[ReadModel], *, schema: str = "ledger", on_progress: Progress | None = None
) -> list[RebuildReport]:
    """Rebuild these read models. `on_progress(name, stages done, total stages)` is called by one thread at a time.

    Raises RebuildFailed if a read model cannot be rebuilt; the others are rebuilt all the same. Raises psycopg.Error.
    """
    with _connected(url, schema) as conn:
        lead(conn, schema)
        reports, failed = _rebuild_all(url, read_models, schema, on_progress)
    if failed:
        raise RebuildFailed("; ".join(str(failure) for failure in failed))
    return reports


def _rebuild_all(
    url: Url, read_models: list[ReadModel], schema: str, on_progress: Progress | None
) -> tuple[list[RebuildReport], list[RebuildFailed]]:
    """Rebuild side by side. An interrupt of the caller ends all builds early and leaves the old tables in use."""
    reports: list[RebuildReport] = []
    failed: list[RebuildFailed] = []
    lock = threading.Lock()
    parts = max(1, CORES // max(1, len(read_models)))
    builds = [_Rebuild(url, read_model, schema, parts, _serialised(on_progress, lock)) for read_model in read_models]
    with ThreadPoolExecutor(max(1, len(builds))) as pool:
        running = [pool.submit(build.run) for build in builds]
        with ExitStack() as unless_done:
            for build in builds:
                unless_done.callback(build.stop)
            for future in running:
                try:
                    reports.append(future.result())
                except RebuildFailed as failure:
                    failed.append(failure)
            unless_done.pop_all()
    return reports, failed


def _serialised(on_progress: Progress | None, lock: threading.Lock) -> Progress:
    def report(name: str, done: int, total: int) -> None:
        if on_progress is not None:
            with lock:
                on_progress(name, done, total)

    return report


@contextmanager
def _connected(url: Url, schema: str, **settings: str) -> Iterator[Connection]:
    """Connect as the owner, in autocommit mode."""
    with connect(conninfo(url, "owner", schema=schema, **BULK, **settings)) as conn:
        yield conn


def lead(conn: Connection, schema: str) -> None:
    """Wait for other rebuilds of this ledger, and keep them out until the connection ends."""
    if conn.execute(LEAD).fetchone() != (True,):
        log.warning("another process rebuilds read models; waiting for it (see the table leaders)")
        while conn.execute(LEAD).fetchone() != (True,):
            sleep(FOLLOW_S)
    swap.create_staging_schema(conn, schema)


class _Rebuild:
    """The build of one read model."""

    def __init__(self, url: Url, read_model: ReadModel, schema: str, parts: int, on_progress: Progress) -> None:
        self._url = url
        self._read_model = read_model
        self._place = Place(schema, read_model.name)
        self._parts = parts
        self._on_progress = on_progress
        self._done = 0
        self._stopped = False
        self._connections: list[Connection] = []

    def stop(self) -> None:
        """Make run() end soon, with an error. Called from another thread."""
        self._stopped = True
        for conn in self._connections:
            if not conn.closed:
                conn.cancel_safe()

    def run(self) -> RebuildReport:
        """Go through all stages. If one fails, drop the half-built table. Raises RebuildFailed or psycopg.Error."""
        with self._connected() as conn:
            try:
                return self._run(conn)
            except (TableBusy, psycopg.Error) as error:
                if isinstance(error, INSTALLATION_ERRORS) or (
                    isinstance(error, psycopg.Error) and cause_of(error) is Cause.SESSION
                ):
                    raise
                reason = f"the rebuild failed: {_reason(error)}"
                _record(conn, self._read_model, reason)
                raise RebuildFailed(f"{self._read_model.name}: {reason}") from None
            finally:
                if not conn.broken:
                    swap.discard(conn, self._place)

    @contextmanager
    def _connected(self, **settings: str) -> Iterator[Connection]:
        with _connected(self._url, self._place.schema, **settings) as conn:
            self._connections.append(conn)
            yield conn

    def _run(self, conn: Connection) -> RebuildReport:
        swap.discard(conn, self._place)
        upto = swap.head(conn)
        try:
            (self._build_carefully if isinstance(self._read_model, ComputedModel) else self._build)(conn, upto)
        except psycopg.Error as error:
            if cause_of(error) is not Cause.DATA:
                raise
            self._build_carefully(conn, upto)
        conn.execute(sql.SQL("ANALYZE {}").format(self._place.staged))
        self._report()
        upto = swap.catch_up(conn, self._place, self._read_model, upto)
        differing = count_differences(conn, self._place, self._read_model, upto)
        self._report()
        swap.swap(conn, self._place, self._read_model, upto)
        self._report()
        return self._as_built(conn, differing)

    def _build(self, conn: Connection, upto: int) -> None:
        swap.stage(conn, self._place, self._read_model.table)
        self._fill(upto)
        swap.stage(conn, self._place, self._read_model.indexes)

    def _build_carefully(self, conn: Connection, upto: int) -> None:
        """Build the table on one connection, and set aside the streams that cannot be folded or indexed."""
        swap.discard(conn, self._place)
        swap.stage(conn, self._place, self._read_model.table, self._read_model.indexes)
        streams = in_order(touched_streams(conn, self._read_model, 0, upto))
        most = self._read_model.streams_at_once
        self._done, self._parts = 0, -(-len(streams) // most)
        for start in range(0, len(streams), most):
            with conn.transaction():
                swap.use_staging_schema(conn, self._place)
                conn.execute(FEW_STREAMS, prepare=False)
                insert_or_set_aside(conn, self._read_model, streams[start : start + most], upto)
            self._report()

    def _fill(self, upto: int) -> None:
        """Fold all events up to `upto` into the new table, with a part of the streams on each connection."""
        scope = PART if self._parts > 1 else UP_TO
        insert = sql.SQL("INSERT INTO {} {}").format(self._place.staged, self._read_model.folded(scope))

        def fill(part: int) -> None:
            # Only the commit of the swap must be flushed to disk; that flushes all that was written before it.
            with self._connected(synchronous_commit="off") as conn:
                conn.execute(insert, {"upto": upto, "parts": self._parts, "part": part})

        with ThreadPoolExecutor(self._parts) as pool:
            for future in as_completed([pool.submit(fill, part) for part in range(self._parts)]):
                future.result()
                self._report()

    def _report(self) -> None:
        if self._stopped:
            raise RebuildFailed(f"{self._read_model.name}: interrupted")
        self._done += 1
        self._on_progress(self._read_model.name, self._done, self._parts + LAST_STAGES)

    def _as_built(self, conn: Connection, differing: int | None) -> RebuildReport:
        query = sql.SQL("SELECT position, (SELECT count(*) FROM {}) FROM projections WHERE name = %s")
        row = conn.execute(query.format(self._place.used), [self._read_model.name]).fetchone()
        assert row is not None, "the swap wrote it"
        aside = tuple(found for found in listed(conn) if found.read_model == self._read_model.name)
        return RebuildReport(self._read_model.name, row[0], row[1], differing, aside)


def _reason(error: TableBusy | psycopg.Error) -> str:
    match error:
        case TableBusy():
            return "long reads kept its table busy; try again"
        case psycopg.errors.DependentObjectsStillExist():
            return "a view or a key depends on its table, or on one of its views; drop that first"
        case psycopg.errors.DuplicateTable():
            return "another table or view has the name of one of its views; rename that first"
    return describe_error(error)


def _record(conn: Connection, read_model: ReadModel, reason: str) -> None:
    """Record why there is no table built from the current SQL. If there is such a table, leave its state unchanged."""
    conn.execute(
        "INSERT INTO projections (name, position, digest, error) VALUES (%s, 0, %s, %s) ON CONFLICT (name)"
        " DO UPDATE SET error = excluded.error WHERE projections.digest <> excluded.digest",
        [read_model.name, read_model.digest, reason],
    )
