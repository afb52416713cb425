"""Builds read models anew, beside the ones in use, and swaps them in. Needs a login that may act as the ledger's owner.

The new table grows in a schema of its own, `LEDGER_rebuild`: filled in parallel by stream, then indexed, brought up to
date, compared with the old one, and put in its place in one transaction. Until that commits readers see the old table,
and the projector keeps it current. A crash leaves the old table in use and a half-built one that the next rebuild
drops. One rebuild at a time (an advisory lock); its read models are built side by side.

A transaction of isolation level REPEATABLE READ whose snapshot is older than the swap finds the new table empty, as the
rows came later. Who reads a read model in such a transaction locks it first: see projections/compare.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ledger.database import conninfo
from projections import swap
from projections.compare import differing
from projections.engine import PART, PROJECTIONS, Connection, Projection, apply, described, passing

LOCK = 0x41_4C_0002
PARTS = 2
# Parts, then: indexed, caught up and compared, swapped.
STAGES = PARTS + 3

# Each connection has a core of its own to use; what it writes is safe once the swap is, as the log is one.
BULK = {
    "enable_nestloop": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "work_mem": "128MB",
    "maintenance_work_mem": "256MB",
}

Progress = Callable[[str, int, int], None]


class RebuildFailed(Exception):
    """The read model could not be rebuilt; the one in use stays. The message says what to do, and holds no values."""


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
        for name, digest in conn.execute(
            "SELECT name, digest FROM projections WHERE error IS NULL AND to_regclass(quote_ident(name)) IS NOT NULL"
        )
    }
    return [found for found in PROJECTIONS if built.get(found.name) != found.digest]


def ensure(url: str, *, schema: str = "ledger", on_progress: Progress | None = None) -> list[RebuildReport]:
    """Rebuilds what is outdated, nothing else. Quick when all is well. Raises what rebuild() raises."""
    with _connected(url, schema) as conn:
        if not outdated(conn):
            return []
        with _alone(conn, schema):
            todo = outdated(conn)  # again: another server that was starting may have done it
            return _rebuild_all(url, todo, schema, on_progress)


def rebuild(
    url: str, read_models: list[Projection], *, schema: str = "ledger", on_progress: Progress | None = None
) -> list[RebuildReport]:
    """Rebuilds these read models. `on_progress(name, stages done, stages in all)` is called by one thread at a time.

    Raises RebuildFailed or psycopg.Error when one could not be rebuilt; the others are rebuilt nevertheless.
    """
    with _connected(url, schema) as conn, _alone(conn, schema):
        return _rebuild_all(url, read_models, schema, on_progress)


def _rebuild_all(
    url: str, read_models: list[Projection], schema: str, on_progress: Progress | None
) -> list[RebuildReport]:
    one_at_a_time = threading.Lock()

    def report(name: str, done: int) -> None:
        with one_at_a_time:
            if on_progress is not None:
                on_progress(name, done, STAGES)

    with ThreadPoolExecutor(max(1, len(read_models))) as pool:
        running = [pool.submit(_Rebuild(url, found, schema, report).run) for found in read_models]
    return [future.result() for future in running]


@contextmanager
def _connected(url: str, schema: str) -> Iterator[Connection]:
    """A connection as the owner, in autocommit mode."""
    with psycopg.connect(conninfo(url, "owner", schema=schema, **BULK), autocommit=True) as conn:
        yield conn


@contextmanager
def _alone(conn: Connection, schema: str) -> Iterator[None]:
    """Waits for other rebuilds of this ledger, and keeps them out while the block runs."""
    conn.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [LOCK, schema])
    try:
        conn.execute(swap.MAKE_STAGING, prepare=False)
        yield
    finally:
        if not conn.broken:
            conn.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", [LOCK, schema])


class _Rebuild:
    """One read model on its way from the chain to its place."""

    def __init__(self, url: str, read_model: Projection, schema: str, report: Callable[[str, int], None]) -> None:
        self._url = url
        self._read_model = read_model
        self._place = swap.Place(schema, read_model.name)
        self._report = report

    def run(self) -> RebuildReport:
        """All stages. What was half built is dropped when one fails."""
        name = self._read_model.name
        with _connected(self._url, self._place.schema) as conn:
            try:
                return self._run(conn)
            except psycopg.Error as error:
                if passing(error) or isinstance(error, psycopg.errors.InsufficientPrivilege):
                    raise
                _stands_still(conn, self._read_model, described(error))
                raise RebuildFailed(f"{name}: {described(error)}; the old one, if any, stays") from None
            finally:
                if not conn.broken:
                    conn.execute(self._place.drop_staged)
